"""Document to bytes and back to a digest. The bytes are what is signed, stored and handed on."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson


def dump(part: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON in the order of the document. The same document gives the same bytes."""
    return orjson.dumps(part)


def digest(payload: bytes) -> str:
    return f"sha256:{hashlib.sha256(payload).hexdigest()}"
