"""Canonical JSON and its digest: the same content, the same digest, whoever writes it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest(content: Any) -> str:
    """sha256 of canonical JSON: sorted keys, no spaces, whole numbers without a fraction."""
    return digest_of_plain(_plain(content))


def digest_of_plain(content: Any) -> str:
    """The same of what has only dictionaries, lists, and no whole number as a fraction."""
    text = _encoder.encode(content)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


_encoder = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def _plain(content: Any) -> Any:
    if isinstance(content, str):
        return content  # most are, and the other questions take long
    if isinstance(content, dict | Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and content.is_integer():
        return int(content)
    return content
