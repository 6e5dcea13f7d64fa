"""The link itself: `shlink:/` and a payload, after HL7 SMART Health Cards and Links 1.0.0."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from privacy.errors import SignatureError
from privacy.signing import b64, no_duplicates, unb64
from service.portable.errors import PortableError
from service.portable.jwe import KEY

SCHEME = "shlink:/"
LONGEST_URL, LONGEST_LABEL, LONGEST = 128, 80, 4096
LONG_TERM, PASSCODE, SINGLE = "L", "P", "U"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Link:
    url: str
    key: bytes
    flag: str = ""
    label: str = ""
    expires: datetime | None = None

    def spelled(self, viewer: str = "") -> str:
        """`viewer`: a page that opens links; what follows `#` never reaches its server."""
        payload: dict[str, Any] = {"url": self.url, "key": b64(self.key)}
        if self.expires is not None:
            payload["exp"] = int(self.expires.timestamp())
        if self.flag:
            payload["flag"] = self.flag
        if self.label:
            payload["label"] = self.label
        text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
        return (
            f"{viewer}#{SCHEME}{b64(text.encode())}" if viewer else f"{SCHEME}{b64(text.encode())}"
        )


def flags(*, long_term: bool, passcode: bool, single: bool) -> str:
    """In the order of the alphabet, as the standard wants them."""
    if single and passcode:
        raise PortableError("a single-file link can't have a passcode: leave one of them out")
    chosen = ((LONG_TERM, long_term), (PASSCODE, passcode), (SINGLE, single))
    return "".join(letter for letter, wanted in chosen if wanted)


def read(text: str) -> Link:
    """A link from anybody, bare or behind a viewer's address. Unknown members and flags are
    ignored, as the standard asks; what would mislead is refused."""
    bare = text.strip().rpartition(SCHEME)[2]
    if SCHEME not in text or len(bare) > LONGEST:
        raise PortableError("this is not a health link: it does not hold `shlink:/`")
    try:
        payload = json.loads(unb64(bare.rstrip("=")), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError, SignatureError):
        raise PortableError("the health link is damaged: copy it again, whole") from None
    if not isinstance(payload, dict):
        raise PortableError("the health link is damaged: copy it again, whole")
    if payload.get("v", 1) != 1:
        raise PortableError("the health link is of a newer kind than this software reads")
    return Link(
        url=_address(payload.get("url")),
        key=_key(payload.get("key")),
        flag="".join(sorted(set(re.findall("[LPU]", str(payload.get("flag", "")))))),
        label=str(payload.get("label", ""))[:LONGEST_LABEL],
        expires=_moment(payload.get("exp")),
    )


def _address(url: object) -> str:
    if not isinstance(url, str) or len(url) > LONGEST_URL:
        raise PortableError("the health link has no address that can be asked")
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not safe or not parts.hostname or parts.username is not None:
        raise PortableError("the health link leads to an address that is not encrypted (https)")
    return url


def _key(key: object) -> bytes:
    try:
        found = unb64(str(key))
    except SignatureError:
        found = b""
    if len(found) != KEY:
        raise PortableError("the health link has no key of 32 bytes")
    return found


def _moment(exp: object) -> datetime | None:
    """Seconds since 1970. Some write milliseconds or a text: then the server alone decides."""
    if isinstance(exp, bool) or not isinstance(exp, int | float) or not 0 < exp < 1 << 33:
        return None
    return datetime.fromtimestamp(exp, UTC)
