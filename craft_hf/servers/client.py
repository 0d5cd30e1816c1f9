"""A client of one OpenAI-compatible server: JSON goes out, JSON or a `Failure` comes back, once for each request."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from craft_hf.base import require
from craft_hf.servers.api_keys import api_key_for
from craft_hf.servers.backoff import backoff
from craft_hf.servers.proxies import Proxy, proxy_for
from craft_hf.servers.responses import SEE_PROXY_LOG, Failure, parse_body, status_failure

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

KEEP_ALIVE_S = 4.0
"""Seconds that an idle connection stays open: less than the 5 after which uvicorn, and so vLLM, closes it."""

CONNECT_S = 10.0
"""Seconds that a connection may take: a host that swallows packets does not answer at all."""

_NOT_THERE = "is the server running at this address?"

MOST_BYTES = 32 * 2**20
"""Length of a response that is read to its end; 32 embeddings of 8,192 dimensions, written as numbers, are 6 MB."""


class Client:
    """Sends requests to a server; an asynchronous context manager.

    A key from the environment goes along, except to another host that the server redirects to. Loopback addresses are
    reached without a proxy, all others by the one that the environment names for them.

    Args:
        url: of the server's API, up to /v1.
        timeout_s: seconds for a whole request; also the longest Retry-After that is obeyed.
        advice: what the user can do about an HTTP status, and for 0 about a request that takes too long.

    Raises:
        MissingExtra: aiohttp is not installed; or the proxy is a SOCKS proxy, and aiohttp_socks is not.
    """

    def __init__(self, url: str, timeout_s: float, advice: Mapping[int, str]) -> None:
        self._http = require("aiohttp", "server")
        self._url, self._timeout_s, self._advice = url, timeout_s, advice
        self._proxy = proxy_for(url)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        http, proxy = self._http, self._proxy
        options: dict[str, Any] = {"limit": 0, "keepalive_timeout": KEEP_ALIVE_S}
        if self._url.startswith("https"):
            options["ssl"] = _tls()
        if proxy and proxy.is_socks:
            connector = require("aiohttp_socks", "server").ProxyConnector.from_url(proxy.url, **options)
        else:
            connector = http.TCPConnector(**options)
        self._session = http.ClientSession(
            connector=connector,
            cookie_jar=http.DummyCookieJar(),
            headers={"Authorization": f"Bearer {api_key_for(self._url)}", "User-Agent": "craft_hf"},
            proxy=proxy.url if proxy and not proxy.is_socks else None,
            timeout=http.ClientTimeout(total=None, sock_connect=CONNECT_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, route: str, parse: Callable[[Any], T | Failure]) -> T | Failure:
        """Return what `parse` makes of the JSON at a route such as "/models"; see `post`."""
        return await self._send("GET", route, None, parse)

    async def post(self, route: str, body: Mapping[str, Any], parse: Callable[[Any], T | Failure]) -> T | Failure:
        """Send JSON to a route such as "/chat/completions"; return what `parse` makes of the response, or a failure.

        Args:
            route: behind the server's URL.
            body: what to send; lone surrogates, as cut web pages hold, become question marks.
            parse: called with the decoded JSON; returns a Failure that says what is wrong with it, or raises a
                KeyError, TypeError or the like if it is not what was asked for at all.
        """
        data = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return await self._send("POST", route, data, parse)

    async def _send(
        self, method: str, route: str, data: bytes | None, parse: Callable[[Any], T | Failure]
    ) -> T | Failure:
        assert self._session is not None
        http, headers = self._http, {"Content-Type": "application/json"} if data else {}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(method, self._url + route, data=data, headers=headers) as response,
            ):
                content = await _read(response)
                status, kind = response.status, response.content_type
                retry_after = response.headers.get("Retry-After", "")
        except http.ConnectionTimeoutError:
            return Failure(f"no connection within {CONNECT_S:g} s", _NOT_THERE, unreachable=True)
        except TimeoutError:
            return Failure(f"no answer within {self._timeout_s:g} s", self._advice.get(0, ""), overloaded=True)
        except http.ClientProxyConnectionError as e:
            return self._proxy_failure(_reason(e))
        except http.ClientHttpProxyError as e:
            return self._proxy_failure(f"HTTP status {e.status}")
        except (http.ClientConnectorCertificateError, http.ClientConnectorSSLError, ssl.SSLError) as e:
            advice = "does it speak https? SSL_CERT_FILE names further certificates to trust."
            return Failure(f"no secure connection ({_reason(e)})", advice, unreachable=True)
        except http.ClientConnectorError as e:
            return Failure(f"no connection ({_reason(e)})", _NOT_THERE, unreachable=True)
        except http.TooManyRedirects:
            return Failure("redirects without end", "give the address at which the server's API is.", retryable=False)
        except (http.ClientError, OSError, ValueError) as e:
            return Failure(f"the connection broke ({_reason(e)})", SEE_PROXY_LOG)
        except Exception as e:
            if not (self._proxy and self._proxy.is_socks and type(e).__module__.startswith("python_socks")):
                raise
            return self._proxy_failure(_reason(e))
        if len(content) > MOST_BYTES:
            return Failure(f"more than {MOST_BYTES >> 20} MB", "is this an OpenAI-compatible server?")
        text = content.decode("utf-8", errors="replace")
        if status >= 300:
            return status_failure(status, text, self._advice, retry_after, self._timeout_s)
        return parse_body(text, kind, parse, self._advice)

    def _proxy_failure(self, reason: str) -> Failure:
        proxy = self._proxy or Proxy("", "a proxy")
        return Failure(
            f"no connection by the proxy of {proxy.variable} ({reason})",
            f"is it running? NO_PROXY names hosts to reach without {proxy.variable}.",
            unreachable=True,
        )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read a body, but not much more of it than is of use."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            break
    return b"".join(parts)


def _reason(error: BaseException) -> str:
    """Return the words of an error, of what caused it where that says more."""
    cause = getattr(error, "os_error", None) or error
    return str(cause) or type(cause).__name__


@cache
def _tls() -> ssl.SSLContext:
    """Return what https trusts: the system's certificates, those of SSL_CERT_FILE and SSL_CERT_DIR, and Mozilla's."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if (file := os.environ.get(name)) and os.path.isfile(file):
            context.load_verify_locations(file)
    return context


async def list_models(client: Client, max_retries: int, backoff_s: float) -> list[Mapping[str, Any]] | Failure:
    """Return what a server says of each of its models, "id" at least; a retryable failure is retried.

    Args:
        client: of the server.
        max_retries: how often a failed request is sent again.
        backoff_s: longest pause before the first retry in seconds, see `backoff`.
    """
    attempts = 0
    while True:
        response = await client.get("/models", parse_models)
        attempts += 1
        if not isinstance(response, Failure):
            return response
        if not response.retryable or attempts > max_retries:
            return replace(response, attempts=attempts)
        await asyncio.sleep(max(response.retry_after_s, backoff(backoff_s, attempts)))


def parse_models(body: Any) -> list[Mapping[str, Any]] | Failure:
    """Return the entries of a list of models.

    Raises:
        KeyError, TypeError: it is not a list of models.
    """
    return [{**model, "id": str(model["id"])} for model in (body if isinstance(body, list) else body["data"])]
