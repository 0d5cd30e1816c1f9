"""The review page over real HTTP: who gets in, what it answers, and what it refuses."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

from craft_hf.base.errors import InputError
from craft_hf.cli.main import app as cli
from craft_hf.review.app import make_app
from craft_hf.review.decisions import ACCEPT, EDIT, REJECT
from craft_hf.review.samples import ReviewSample
from craft_hf.review.server import serve
from craft_hf.review.store import ReviewStore
from craft_hf.tasks.task import Task, load_task
from tests.own_task import write_task
from tests.reviewing import TASK, decide, made_reviews, made_sample

KEY = "key-of-the-page"


class Client:
    """Sends requests to a page, with its cookie."""

    def __init__(self, port: int) -> None:
        self.port, self.cookie = port, ""

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any, http.client.HTTPResponse]:
        """GET, or POST of a body; returns status, parsed JSON or text, and the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"host": f"localhost:{self.port}", "cookie": self.cookie, **headers}
        if body is not None:
            headers = {"content-type": "application/json", **headers}
            data = body if isinstance(body, str) else json.dumps(body)
            connection.request("POST", path, data, headers)
        else:
            connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        kind = response.headers.get_content_type()
        return response.status, json.loads(text) if kind == "application/json" else text, response

    def decide(self, sample: ReviewSample, verdict: str, **more: object) -> tuple[int, Any]:
        """Send a decision."""
        body = {"sample_id": sample.id, "verdict": verdict, "reviewer": "ann", "key": f"{sample.id}-{verdict}", **more}
        return self.ask("/api/decisions", body)[:2]


def serving(reviews: ReviewStore, password: str | None = None, task: Task = TASK) -> Iterator[Client]:
    """Serve a page on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(make_app(reviews, task, "ann", password), log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Client(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def reviews(tmp_path: Path) -> tuple[ReviewStore, list[ReviewSample]]:
    """A store with three samples."""
    return made_reviews(tmp_path / "r.sqlite", 3)


@pytest.fixture
def page(reviews: tuple[ReviewStore, list[ReviewSample]]) -> Iterator[Client]:
    """A page without a password."""
    yield from serving(reviews[0])


@pytest.fixture
def locked(reviews: tuple[ReviewStore, list[ReviewSample]]) -> Iterator[Client]:
    """A page with a password."""
    yield from serving(reviews[0], KEY)


def test_a_decision_goes_the_whole_way(page: Client, reviews: tuple[ReviewStore, list[ReviewSample]]) -> None:
    """Queue, sample, decision, state; others' decisions are seen once one's own is there."""
    store, samples = reviews
    about = page.ask("/api/about")[1]
    assert about["task"] == "bioqa"
    assert about["checks"]["language"] == "the task's language"
    assert {"wrong answer", "copied", "other"} <= set(about["reasons"])
    assert page.ask("/api/queue?reviewer=ann&show=open")[1] == {"ids": [s.id for s in samples]}
    decide(store, samples[0], REJECT, "bob", reason="other")
    seen = page.ask(f"/api/sample/{samples[0].id}?reviewer=ann")[1]
    assert (seen["mine"], seen["others"], seen["hidden"]) == (None, [], 1)
    assert seen["supporting"]
    assert page.decide(samples[0], ACCEPT) == (200, {"kept": True})
    seen = page.ask(f"/api/sample/{samples[0].id}?reviewer=ann")[1]
    assert (seen["mine"]["verdict"], seen["others"][0]["reason"], seen["hidden"]) == (ACCEPT, "other", 0)
    state = page.ask("/api/state?reviewer=ann")[1]
    assert (state["kept"], state["mine"], state["reviewed"], state["reviewers"]) == (3, {ACCEPT: 1}, 1, 2)
    assert page.ask("/api/undo", {"reviewer": "ann", "key": "u"})[1] == {"sample_id": samples[0].id}
    assert [d.reviewer for d in store.current_decisions()] == ["bob"]


def test_a_text_that_cannot_be_written_is_refused(
    page: Client, reviews: tuple[ReviewStore, list[ReviewSample]]
) -> None:
    """Half a character, in any text of a decision, is named and not kept."""
    for name in ("note", "reviewer", "key", "sample_id"):
        status, answer = page.decide(reviews[1][0], ACCEPT, **{name: "x\ud800"})
        assert (status, answer["error"].split(",")[0]) == (400, f"{name} holds half a character (a lone surrogate)")
    assert not reviews[0].history()


def test_an_edit_must_be_a_sample_of_the_task(page: Client, reviews: tuple[ReviewStore, list[ReviewSample]]) -> None:
    """The schema's and the task's rules are said; what is right is kept."""
    store, (sample, *_) = reviews
    fields = dict(sample.fields)
    for wrong, said in (
        ({**fields, "answer": "E"}, "answer: against the schema (enum)"),
        ({**fields, "question": "Short?"}, "question: under 16 characters"),
        ({**fields, "options": [f"{letter}. same" for letter in "ABCD"]}, "options"),
        ("text", "fields is no object"),
    ):
        status, answer = page.decide(sample, EDIT, fields=wrong)
        assert status == 400
        assert said in answer["error"]
    assert page.decide(sample, EDIT, fields={**fields, "question": "A question that is better?"})[0] == 200
    assert store.current_decisions()[0].fields["question"] == "A question that is better?"


def test_the_page_learns_which_option_is_right(page: Client, reviews: tuple[ReviewStore, list[ReviewSample]]) -> None:
    """The place of the right option, of the edited sample once there is an edit; and which fields must be there."""
    _, (sample, *_) = reviews
    place = "ABCD".index(str(sample.fields["answer"]))
    assert page.ask(f"/api/sample/{sample.id}")[1]["right_option"] == place
    other = (place + 1) % 4
    assert page.decide(sample, EDIT, fields={**sample.fields, "answer": "ABCD"[other]})[0] == 200
    assert page.ask(f"/api/sample/{sample.id}?reviewer=ann")[1]["right_option"] == other
    assert page.ask("/api/about")[1]["required"] == ["answer", "options", "question"]


def test_an_edit_is_kept_in_its_one_form(tmp_path: Path) -> None:
    """Null for an optional field is no value, texts are NFC, and NaN is no JSON."""
    shots = [(f"Text {n}.", {"headline": f"Headline {n}"}) for n in range(3)]
    fields = {"headline": {"type": "string"}, "note": {"type": "string"}, "price": {"type": "number"}}
    task = load_task(write_task(tmp_path / "task", fields, shots, required=["headline"]))
    sample = made_sample(0, TASK, fields={"headline": "Headline"})
    with ReviewStore(tmp_path / "r.sqlite", "task") as store:
        store.add([sample])
        client = next(pages := serving(store, task=task))
        edit = {"headline": "Cafe\u0301", "note": None}
        assert client.decide(sample, EDIT, fields=edit) == (200, {"kept": True})
        assert [d.fields for d in store.current_decisions()] == [{"headline": "Caf\u00e9"}]
        status, answer = client.decide(sample, EDIT, fields={"headline": "Pier", "price": float("nan")})
        assert status == 400
        assert "NaN is no number in JSON" in answer["error"]
        pages.close()


def test_only_what_was_accepted_is_promoted(page: Client, reviews: tuple[ReviewStore, list[ReviewSample]]) -> None:
    """As it was edited, with its document and licence."""
    store, (sample, *_) = reviews
    body = {"sample_id": sample.id, "reviewer": "ann", "key": "p"}
    status, answer, _ = page.ask("/api/promote", body)
    assert (status, "accept it first" in answer["error"]) == (400, True)
    better = {**sample.fields, "question": "A question that is better?"}
    page.decide(sample, EDIT, fields=better)
    assert page.ask("/api/promote", body)[0] == page.ask("/api/promote", body)[0] == 200
    (change,) = store.changes()
    assert change.value["sample"] == better
    assert (change.value["text"], change.value["license"]) == (sample.document["text"], "CC0")
    assert page.ask("/api/state")[1]["promoted"] == [sample.id]


def test_a_threshold_moves_with_a_yes_only(page: Client, reviews: tuple[ReviewStore, list[ReviewSample]]) -> None:
    """What is no check, or no number, is refused."""
    body = {"check": "grounded", "score": 0.5, "reviewer": "ann", "key": "t"}
    numbers = ({"score": value} for value in ("0.5", None, True, 10**400, -(10**400)))
    for wrong in ({"check": "schema"}, {"reviewer": " "}, {"key": ""}, *numbers):
        status, answer, _ = page.ask("/api/threshold", {**body, **wrong})
        assert status == 400, answer
        assert next(iter(wrong)) in answer["error"]
    assert not reviews[0].changes()
    assert page.ask("/api/threshold", body)[0] == 200
    assert page.ask("/api/state")[1]["thresholds"] == [{"check": "grounded", "score": 0.5, "position": None}]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/", None, {"host": "evil.example"}, 403),
        ("/api/state", None, {"host": "evil.example:80"}, 403),
        ("/api/undo", {}, {"origin": "https://evil.example"}, 403),
        ("/api/undo", {}, {"origin": "null"}, 403),
        ("/api/undo", "x" * (2**20 + 1), {}, 413),
        ("/api/undo", "reviewer=ann", {"content-type": "application/x-www-form-urlencoded"}, 400),
        ("/api/undo", "no json", {}, 400),
        ("/api/undo", [], {}, 400),
        ("/api/undo", {"reviewer": 3}, {}, 400),
        ("/api/decisions", {"sample_id": "../../etc/passwd"}, {}, 400),
        ("/api/sample/..%2f..%2fetc%2fpasswd", None, {}, 404),
        ("/api/sample/unknown", None, {}, 400),
        ("/api/queue?path=/etc/passwd", None, {}, 400),
        ("/api/queue?show=everything", None, {}, 400),
        ("/static/..%2fapp.py", None, {}, 404),
        ("/static/../store.py", None, {}, 404),
        ("/static/index.html", None, {}, 404),
        ("/etc/passwd", None, {}, 404),
        ("//etc/passwd", None, {}, 404),
    ],
)
def test_what_is_none_of_the_page_s_is_refused(
    page: Client, path: str, body: object, headers: dict[str, str], status: int
) -> None:
    """Other hosts, other sites, other types, other files: an answer that says so, and nothing happens."""
    assert page.ask(path, body, **headers)[0] == status


def test_every_answer_forbids_scripts_of_others(page: Client) -> None:
    """The policy allows the page's own script alone, and no embedding; names of this machine are answered."""
    for path in ("/", "/static/review.js", "/api/state", "/nothing"):
        response = page.ask(path)[2]
        policy = str(response.headers["content-security-policy"])
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    assert page.ask("/", host="127.0.0.1")[0] == page.ask("/", host=f"[::1]:{page.port}")[0] == 200


def test_a_password_keeps_others_out(locked: Client) -> None:
    """Nothing but the form is to be had without; with the cookie everything, under any host's name."""
    for path, body in (("/api/state", None), ("/api/decisions", {}), ("/static/review.js", None)):
        assert locked.ask(path, body)[0] == 401
    assert 'type="password"' in locked.ask("/")[1]
    form = {"content-type": "application/x-www-form-urlencoded"}
    refused = locked.ask("/login", "password=wrong", **form)[2]
    assert (refused.status, refused.headers["location"], refused.headers["set-cookie"]) == (303, "/?wrong", None)
    assert "That is not the password." in locked.ask("/?wrong")[1]
    assert "That is not the password." not in locked.ask("/")[1]
    entered = locked.ask("/login", f"password={KEY}", **form)[2]
    cookie = str(entered.headers["set-cookie"])
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEY not in cookie
    locked.cookie = cookie.split(";")[0]
    assert locked.ask("/api/state", host="reviews.example")[0] == 200
    assert "<script" in locked.ask("/")[1]
    locked.cookie = "craft_hf_review=guess"
    assert locked.ask("/api/state")[0] == 401


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """With what to do."""
    store, _ = made_reviews(tmp_path / "r.sqlite", 1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match="give another --port"):
            serve(store, TASK, "127.0.0.1", other.getsockname()[1])


def test_the_commands_move_decisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export, import, agreement and pairs; others' reach needs a password; wrong names are told."""
    store, samples = made_reviews(tmp_path / "r.sqlite", 3)
    runner = CliRunner()

    def said(*arguments: object, **more: Any) -> str:
        result = runner.invoke(cli, [str(a) for a in arguments], **more)
        return result.stdout if result.exit_code == 0 else f"error: {result.exception}"

    assert "No two reviewers have decided" in said("reviews", "agreement", store.path)
    assert "has no edits" in said("reviews", "pairs", store.path, "--out", tmp_path / "p.jsonl")
    decide(store, samples[0], ACCEPT)
    decide(store, samples[0], REJECT, "bob")
    decide(store, samples[1], REJECT)
    decide(store, samples[2], ACCEPT)
    assert said("reviews", "agreement", store.path) == "ann and bob: 0% of 1 samples, kappa 0.00\n"
    (tmp_path / "d.jsonl").write_text(said("reviews", "export", store.path))
    ReviewStore(tmp_path / "other.sqlite", "bioqa").close()
    assert said("reviews", "import", tmp_path / "other.sqlite", tmp_path / "d.jsonl") == "4 new decisions\n"
    assert said("reviews", "pairs", store.path, "--out", tmp_path / "p.jsonl").startswith("2 pairs (2 instruction)")
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 2
    assert "is a folder; give the name of a file in it" in said("reviews", "pairs", store.path, "--out", tmp_path)
    assert "there is no folder" in said("reviews", "pairs", store.path, "--out", tmp_path / "none" / "p.jsonl")
    assert "there is no" in said("reviews", "export", tmp_path / "none.sqlite")
    monkeypatch.delenv("CRAFT_HF_REVIEW_PASSWORD", raising=False)
    refused = said("review", store.path, "--host", "0.0.0.0")
    assert "set a password in the environment variable CRAFT_HF_REVIEW_PASSWORD" in refused
    assert "report.json" in said("review", tmp_path)
    assert "leave --reviews" in said("review", store.path, "--reviews", tmp_path / "x.sqlite")
    assert "holds reviews" not in said("review", "--help")
