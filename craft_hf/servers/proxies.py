"""Which proxy the environment names for a server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from craft_hf.base import InputError

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        url: its address, which may hold a password, so it is never shown.
        variable: what names it, for messages.
    """

    url: str = field(repr=False)
    variable: str

    @property
    def is_socks(self) -> bool:
        """Whether it is a SOCKS proxy."""
        return self.url.startswith("socks")


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL, by HTTPS_PROXY or HTTP_PROXY, else ALL_PROXY, and NO_PROXY; None for none.

    On macOS and Windows the system's settings count where no variable is set. Loopback addresses never have a proxy.

    Raises:
        InputError: the variable holds no proxy's address.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host) or proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return None
    proxies = getproxies()
    for name in (parts.scheme, "all"):
        if address := proxies.get(name):
            return Proxy(_checked(address, f"{name.upper()}_PROXY"), f"{name.upper()}_PROXY")
    return None


def _checked(address: str, variable: str) -> str:
    """Return a proxy's address in the form in which libraries take it."""
    address = address if "://" in address else f"http://{address}"
    scheme, rest = address.split("://", 1)
    if scheme.lower() not in _SCHEMES or not urlsplit(address).hostname:
        raise InputError(f"{variable} is no proxy's address; expected {', '.join(_SCHEMES)}, as in http://host:port.")
    # "h" and "a" ask the proxy to look up names, as we do in any case.
    known = {"socks5h": "socks5", "socks4a": "socks4"}.get(scheme.lower(), scheme.lower())
    return f"{known}://{rest}"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
