"""The web application of the review page.

It serves a few files of its own and what the store holds, nothing else from the disk. All data goes to the page as
JSON, and is shown as text there, never as HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_hf.base import JSON, CraftError, InputError
from craft_hf.quality import checks_for
from craft_hf.review.access import AccessControl
from craft_hf.review.decisions import ACCEPT, EDIT, PROMOTE, REJECT, THRESHOLD, Decision
from craft_hf.review.queue import counts, queue
from craft_hf.review.samples import ReviewSample, problem
from craft_hf.review.store import ReviewStore
from craft_hf.review.supporting_sentences import supporting_sentences
from craft_hf.review.threshold_proposals import propose_thresholds, reject_reasons
from craft_hf.tasks import Task, normalized, parse_json, unwritable

if TYPE_CHECKING:
    from starlette.types import ASGIApp

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "page"
_FILES = {"review.css": "text/css", "login.css": "text/css", "review.js": "text/javascript"}


def make_app(reviews: ReviewStore, task: Task, reviewer: str = "", password: str | None = None) -> ASGIApp:
    """Return the application (ASGI).

    Args:
        reviews: the store; it stays open as long as the application lives.
        task: of the samples.
        reviewer: name that the page suggests.
        password: of all reviewers; None for none, and then only requests to this machine's loopback names are answered.
    """
    page = _Page(reviews, task, reviewer)
    routes = [
        Route("/", page.index),
        Route("/static/{name}", page.static),
        Route("/api/about", page.about),
        Route("/api/state", page.state),
        Route("/api/queue", page.queue),
        Route("/api/sample/{sample_id}", page.sample),
        Route("/api/decisions", page.decide, methods=["POST"]),
        Route("/api/undo", page.undo, methods=["POST"]),
        Route("/api/promote", page.promote, methods=["POST"]),
        Route("/api/threshold", page.threshold, methods=["POST"]),
    ]
    return AccessControl(
        Starlette(routes=routes, exception_handlers={CraftError: _refused}), password, ("/", "/static/login.css")
    )


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 500)


class _Page:
    """What the routes do; the synchronous ones run in threads."""

    def __init__(self, reviews: ReviewStore, task: Task, reviewer: str) -> None:
        self._reviews, self._task, self._reviewer = reviews, task, reviewer

    def index(self, request: Request) -> Response:
        """The page, or the one that asks for the password."""
        name = "index.html" if request.state.logged_in else "login.html"
        text = (_FOLDER / name).read_text(encoding="utf-8")
        if "wrong" in request.query_params:
            text = text.replace("<!-- answer -->", "That is not the password.")
        return Response(text, media_type="text/html; charset=utf-8")

    def static(self, request: Request) -> Response:
        """One of the page's own files; there are no others."""
        name = request.path_params["name"]
        if name not in _FILES:
            return PlainTextResponse("There is no such file.", 404)
        return Response((_FOLDER / name).read_bytes(), media_type=f"{_FILES[name]}; charset=utf-8")

    def about(self, request: Request) -> Response:
        """What does not change while the page is open: the task, its fields, the reasons, and what each check wants."""
        task = self._task
        names = {"task": task.name, "options_field": task.options_field, "required": sorted(task.required)}
        about = {"store": self._reviews.id, "reviewer": self._reviewer, "reasons": list(reject_reasons(task)), **names}
        checks = {check.name: check.about for check in checks_for(task)}
        schema = task.schema["properties"]
        return JSONResponse({**about, "description": task.description, "schema": schema, "checks": checks})

    def state(self, request: Request) -> Response:
        """A reviewer's progress, the promoted samples, and the thresholds in force and proposed."""
        changes = self._reviews.changes()
        return JSONResponse(
            {
                **counts(self._reviews, _text(request.query_params, "reviewer").strip()),
                "promoted": [c.value["sample_id"] for c in changes if c.kind == PROMOTE],
                "thresholds": [{**c.value, "position": c.position} for c in changes if c.kind == THRESHOLD],
                "proposals": [asdict(proposal) for proposal in propose_thresholds(self._reviews, self._task)],
            }
        )

    def queue(self, request: Request) -> Response:
        """The ids of what a reviewer wants to see, in order."""
        asked = {name: request.query_params[name].strip() for name in request.query_params}
        known = ("reviewer", "show", "order", "dropped_by", "text")
        if unknown := sorted(set(asked) - set(known)):
            raise InputError(f"{unknown[0]!r} is unknown; expected some of {', '.join(known)}.")
        return JSONResponse({"ids": queue(self._reviews, **asked)})

    def sample(self, request: Request) -> Response:
        """A sample, its document with what supports it, and what was decided.

        Decisions of others are shown once this reviewer has decided, so that nobody is influenced.
        """
        sample = self._sample(request.path_params["sample_id"])
        reviewer = _text(request.query_params, "reviewer").strip()
        decided = self._reviews.current_decisions(sample.id)
        mine = next((asdict(d) for d in decided if d.reviewer == reviewer), None)
        others = [asdict(d) for d in decided if d.reviewer != reviewer]
        found = {"mine": mine, "others": others if mine else [], "hidden": 0 if mine else len(others)}
        passages = supporting_sentences(self._task, sample.document["text"], sample.fields)
        choices, shown = self._task.multiple_choice, mine["fields"] if mine and mine["fields"] else sample.fields
        right = choices.read(shown).right if choices else None
        return JSONResponse({**asdict(sample), **found, "supporting": passages, "right_option": right})

    async def decide(self, request: Request) -> Response:
        """Save a decision; the response is sent when it is on the disk."""
        given = await _body(request)
        sample = self._sample(_text(given, "sample_id"))
        verdict, fields = _text(given, "verdict"), given.get("fields")
        if verdict not in (ACCEPT, REJECT, EDIT):
            raise InputError(f"verdict is {verdict!r}, expected one of {ACCEPT}, {REJECT}, {EDIT}.")
        edited: Mapping[str, JSON] = {}
        if verdict == EDIT:
            if not isinstance(fields, Mapping):
                raise InputError("fields is no object; expected those of the edited sample.")
            edited = normalized(fields, self._task.schema)
            if wrong := problem(self._task, edited):
                raise InputError(f"the edited sample cannot be kept: {wrong}.")
        reason = _text(given, "reason") if verdict == REJECT else ""
        name, note, key = (_text(given, part) for part in ("reviewer", "note", "key"))
        decision = Decision(sample.id, name, verdict, reason, note, edited, key=key)
        await run_in_threadpool(self._reviews.decide, decision)
        return JSONResponse({"kept": True})

    async def undo(self, request: Request) -> Response:
        """Take back this reviewer's last decision; says which sample it was."""
        given = await _body(request)
        undone = await run_in_threadpool(self._reviews.undo_last, _text(given, "reviewer"), _text(given, "key"))
        return JSONResponse({"sample_id": undone})

    async def promote(self, request: Request) -> Response:
        """Make a sample that the reviewer accepted or edited a few-shot of later prompts."""
        given = await _body(request)
        sample, reviewer = self._sample(_text(given, "sample_id")), _text(given, "reviewer").strip()
        mine = next((d for d in self._reviews.current_decisions(sample.id) if d.reviewer == reviewer), None)
        if mine is None or mine.verdict == REJECT:
            raise InputError("only a sample that you accepted or edited can become a few-shot; accept it first.")
        shot: dict[str, JSON] = {name: sample.document[name] for name in ("text", "source", "license")}
        shot |= {"id": f"review-{sample.id}", "sample_id": sample.id}
        shot["sample"] = dict(mine.fields if mine.verdict == EDIT else sample.fields)
        await run_in_threadpool(self._reviews.change, PROMOTE, shot, reviewer, _text(given, "key"))
        return JSONResponse({"kept": True})

    async def threshold(self, request: Request) -> Response:
        """Accept a proposed threshold for later prompts."""
        given = await _body(request)
        check, score = _text(given, "check"), given.get("score")
        if not any(check in names for names in reject_reasons(self._task).values()):
            raise InputError(f"check is {check!r}, expected one that measures something.")
        if isinstance(score, bool) or not isinstance(score, int | float) or unwritable(score):
            raise InputError(f"score is {str(score)[:50]!r}, expected a number.")
        value: dict[str, JSON] = {"check": check, "score": float(score)}
        asked = THRESHOLD, value, _text(given, "reviewer"), _text(given, "key")
        await run_in_threadpool(self._reviews.change, *asked)
        return JSONResponse({"kept": True})

    def _sample(self, sample_id: str) -> ReviewSample:
        sample = self._reviews.sample(sample_id)
        if sample is None:
            raise InputError(f"there is no sample {sample_id[:50]!r} in this review; load the page again.")
        return sample


async def _body(request: Request) -> dict[str, JSON]:
    """Return the JSON object of a request; other content types are what other sites' forms could send."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise InputError("expected application/json.")
    try:
        given = parse_json(await request.body())
    except ValueError as e:
        raise InputError(f"the request is no JSON: {e}.") from e
    if not isinstance(given, dict):
        raise InputError("the request is no JSON object.")
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise InputError(f"{name} is {value!r}, expected text.")
    if reason := unwritable(value):
        raise InputError(f"{name} holds {reason}, which no review can; remove it.")
    return value
