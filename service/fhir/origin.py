"""Who may be talked to: origins compared by scheme, host and port; addresses by what they are."""

import ipaddress
import re
import socket
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

from service.fhir.errors import ForeignOrigin, UnsafeAddress

Origin = tuple[str, str, int]
_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> Origin:
    """(scheme, host, port). `UnsafeAddress` for anything but plain http(s) without user info."""
    start = _PLAIN.match(url)
    return _read(url) if start is None else _read_once(start[0])


# Of an address like these what follows says nothing of its origin, and a server has but one or two.
_PLAIN = re.compile(r"https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?/(?=[\x21-\x7e]*\Z)")


@lru_cache(maxsize=256)
def _read_once(start: str) -> Origin:
    return _read(start)


def _read(url: str) -> Origin:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UnsafeAddress("URL") from None  # the cause quotes the URL
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise UnsafeAddress("URL")
    return parts.scheme, parts.hostname.lower().rstrip("."), port or _PORTS[parts.scheme]


def resolve_link(link: str, response_url: str, allowed: frozenset[Origin], what: str) -> str:
    """A link as RFC 3986 reads it, from where it was found; only towards an allowed origin."""
    target = joined(response_url, link)
    if origin_of(target) not in allowed:
        raise ForeignOrigin(what)
    return target


def joined(found_at: str, link: str) -> str:
    """A link as RFC 3986 reads it. `UnsafeAddress` where it is none."""
    try:
        return urljoin(found_at, link.strip())
    except ValueError:
        raise UnsafeAddress("URL") from None  # the cause quotes the URL


def is_loopback(url: str) -> bool:
    host = origin_of(url)[1]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def require_public(url: str, what: str) -> None:
    """For an address nobody configured (a discovered one): https, and no private network."""
    scheme, host, port = origin_of(url)
    if scheme != "https":
        raise UnsafeAddress(what)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise UnsafeAddress(what) from None
    if any(not ipaddress.ip_address(item[4][0]).is_global for item in found):
        raise UnsafeAddress(what)
