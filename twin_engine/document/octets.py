"""Document to bytes and back to a digest. The bytes are what is signed, stored and handed on."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

# The buffer in which orjson writes, and which stays behind its result as long as that lives.
BUFFER = 4096


def dump(part: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON in the order of the document. The same document gives the same bytes."""
    made = orjson.dumps(part)
    # A hundred thousand facts as bytes, each with its buffer, would take half a gigabyte.
    return made if len(made) > BUFFER else bytes(memoryview(made))


def digest(payload: bytes) -> str:
    return f"sha256:{hashlib.sha256(payload).hexdigest()}"
