"""Access control of the review page: password, allowed hosts, and security headers.

Without a password the page answers to names of this machine only, so that no page of another site can reach it through
a name that points here (DNS rebinding). A password comes with a cookie that other sites' requests do not carry. The
content security policy runs no script but the page's own, whatever a document holds.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from craft_hf.base import require

require("starlette", "review")

from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response  # noqa: E402

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Host names of this machine."""

_COOKIE = "craft_hf_review"
_MAX_BYTES = 2**20
_WRONG_PASSWORD_DELAY_S = 1.0
"""Delay of the response to a wrong password, so that guessing takes long."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class AccessControl:
    """ASGI middleware that lets requests through or refuses them.

    Args:
        app: the application behind it; it finds in `scope["state"]["logged_in"]` whether the user has logged in.
        password: the password of all reviewers; None for none.
        open_paths: paths that are answered before a user has logged in.
    """

    def __init__(self, app: ASGIApp, password: str | None, open_paths: tuple[str, ...]) -> None:
        self._app, self._password, self._open = app, password, (*open_paths, "/login")
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        request = Request(scope, receive)
        answer = self._refusal(request)
        if answer is None and (request.method, request.url.path) == ("POST", "/login"):
            answer = await self._login(request)
        scope.setdefault("state", {})["logged_in"] = self._logged_in(request)
        await (answer or self._app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """Return the response that refuses a request, or None if it may pass."""
        host = request.headers.get("host", "")
        if self._password is None and urlsplit(f"//{host}").hostname not in LOOPBACK_HOSTS:
            return PlainTextResponse("This page is available at localhost only.", 403)
        if request.method == "POST":
            origin = request.headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != host:
                return PlainTextResponse("Requests from pages of other sites are refused.", 403)
            size = request.headers.get("content-length", "")
            if not size.isdecimal() or int(size) > _MAX_BYTES:
                return PlainTextResponse(f"A request needs a Content-Length of at most {_MAX_BYTES:,} bytes.", 413)
        if not self._logged_in(request) and request.url.path not in self._open:
            return JSONResponse({"error": "not logged in: log in again."}, 401)
        return None

    def _logged_in(self, request: Request) -> bool:
        if self._password is None:
            return True
        return hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self._session.encode())

    async def _login(self, request: Request) -> Response:
        """Check the password and set the session cookie, which is valid until the server stops."""
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("password", [""])[0]
        if self._password is None or not hmac.compare_digest(given.encode(), self._password.encode()):
            await asyncio.sleep(_WRONG_PASSWORD_DELAY_S)
            return RedirectResponse("/?wrong", 303)
        answer, secure = RedirectResponse("/", 303), request.url.scheme == "https"
        answer.set_cookie(_COOKIE, self._session, httponly=True, samesite="strict", secure=secure)
        return answer
