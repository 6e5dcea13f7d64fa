"""What a health link leads to, fetched as a stranger's: no redirects, bounded, over https."""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests

from mappings.to_fhir.phr import TWIN_TYPE
from privacy.errors import SignatureError
from privacy.signing import no_duplicates
from service.portable import jwe
from service.portable.errors import PortableError
from service.receive.errors import ReceiveError
from service.sharing import link as shl

LARGEST = 96 << 20  # of what is encrypted, in base64
FILES = 20
TIMEOUT = (10, 60)
_REFUSED = {
    401: "the passcode is missing or wrong; wrong ones are counted over the link's whole life",
    404: "the link is no longer available: revoked, run out, or used up. Ask for a new one",
    429: "too many have asked for this link just now: try again in a minute",
}


def twin_behind(link: shl.Link, recipient: str, passcode: str) -> bytes:
    """The signed twin among the files of a link."""
    for sealed in _files(link, recipient, passcode):
        found = _attached(jwe.unseal(sealed, link.key).content)
        if found is not None:
            return found
    raise ReceiveError("the link leads to no signed twin; open it in a viewer to see what it has")


def _files(link: shl.Link, recipient: str, passcode: str) -> Iterator[str]:
    if shl.SINGLE in link.flag:
        yield _asked("GET", link.url, params={"recipient": recipient}).decode("ascii", "replace")
        return
    body = {"recipient": recipient, **({"passcode": passcode} if passcode else {})}
    for file in _listed(_asked("POST", link.url, json=body)):
        if isinstance(file.get("embedded"), str):
            yield file["embedded"]
        else:
            yield _asked("GET", _safe(file.get("location"))).decode("ascii", "replace")


def _listed(manifest: bytes) -> list[dict[str, Any]]:
    try:
        files = orjson.loads(manifest)["files"]
        sound = isinstance(files, list) and all(isinstance(one, dict) for one in files)
    except (ValueError, LookupError, TypeError):
        sound = False
    if not sound or len(files) > FILES:
        raise ReceiveError("the server behind the link does not answer as a health link's does")
    return list(files)


def _safe(location: object) -> str:
    parts = urlsplit(location if isinstance(location, str) else "")
    near = parts.scheme == "http" and parts.hostname in shl.LOOPBACK
    if parts.scheme != "https" and not near:
        raise ReceiveError("the link leads to an address that is not encrypted (https)")
    return parts.geturl()


def _asked(method: str, url: str, **how: Any) -> bytes:
    """The address is the secret of the link: no error repeats it."""
    try:
        with requests.request(
            method, url, timeout=TIMEOUT, stream=True, allow_redirects=False, **how
        ) as answer:
            if answer.status_code != 200:
                raise ReceiveError(
                    _REFUSED.get(answer.status_code, "the server behind the link refused")
                )
            return _within(answer)
    except requests.RequestException:
        raise ReceiveError("the server behind the link can't be reached") from None


def _within(answer: requests.Response) -> bytes:
    kept = bytearray()
    for chunk in answer.iter_content(1 << 16):
        kept += chunk
        if len(kept) > LARGEST:
            raise ReceiveError("what the link leads to is too large")
    return bytes(kept)


def _attached(content: bytes) -> bytes | None:
    """The twin inside a DocumentReference."""
    try:
        resource = json.loads(content, object_pairs_hook=no_duplicates)
        attachment = resource["content"][0]["attachment"]
        if resource["resourceType"] != "DocumentReference":
            return None
        if attachment["contentType"] != TWIN_TYPE:
            return None
        return base64.b64decode(attachment["data"], validate=True)
    except (LookupError, TypeError):
        return None
    except (ValueError, RecursionError, SignatureError, binascii.Error):
        raise PortableError("a file of the link can't be read") from None
