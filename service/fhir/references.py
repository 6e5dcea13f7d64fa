"""Every form of a reference to something we have becomes `Type/id`; other forms stay."""

import re
from collections.abc import Callable, Iterable
from typing import Any

# Type/id at the end of a relative or absolute reference, with or without a version.
_TAIL = re.compile(
    r"(?P<head>.*/)?(?P<plain>[A-Z][A-Za-z]{2,49}/[A-Za-z0-9._-]{1,128})(?:/_history/[^/]+)?\Z"
)

# A text under that name, with nothing in it that JSON has to escape.
_HELD = re.compile(rb'"reference"\s*:\s*"([^"\\]*)"')


def plain_reference(text: str, bases: Iterable[str]) -> str | None:
    """`Type/id` for a relative reference, or an absolute one below one of `bases`."""
    match = _TAIL.fullmatch(text.strip())
    if match is None:
        return None
    head = match["head"]
    if head is None or any(head == f"{base.rstrip('/')}/" for base in bases):
        return match["plain"]
    return None


def rewrite(node: Any, resolve: Callable[[str], str | None]) -> None:
    """Replace, in place and at any depth, each `reference` that `resolve` knows better.

    Every resource of every pull goes through here: written for speed.
    """
    pending: list[Any] = [node] if isinstance(node, dict | list) else []
    for value in pending:  # grows on the way
        if type(value) is dict:
            text = value.get("reference")
            if type(text) is str:
                value["reference"] = resolve(text) or text
            value = value.values()
        for inner in value:
            if (kind := type(inner)) is dict or kind is list:
                pending.append(inner)  # noqa: PERF401 - a list made for each object costs half as much again


def replace(holders: Iterable[dict[str, Any]], resolve: Callable[[str], str | None]) -> None:
    """The same, in the objects that hold a `reference`."""
    for holder in holders:
        text = holder["reference"]
        if type(text) is str:
            holder["reference"] = resolve(text) or text


class Rewriter:
    """Makes a resource's references plain, remembering what it has seen."""

    def __init__(self, bases: Iterable[str]) -> None:
        self._known = tuple(bases)
        self._seen: dict[str, str | None] = {}

    def __call__(self, resource: Any) -> None:
        rewrite(resource, self._resolve)

    def leaves(self, body: bytes) -> bool:
        """Whether nothing in this JSON would be changed, as far as that can be seen in its bytes:
        to look at each object takes as long as to read them all."""
        found = _HELD.findall(body)
        sure = body.count(b'"reference"') == len(found) and b"\\u" not in body
        return sure and all(self.stays(text.decode()) for text in set(found))

    def stays(self, text: str) -> bool:
        """Whether this reference is left as it is."""
        return (self._resolve(text) or text) == text

    def _resolve(self, text: str) -> str | None:
        if text not in self._seen:
            self._seen[text] = plain_reference(text, self._known)
        return self._seen[text]


def reference_of(resource: Any, element: str) -> str | None:
    """The text of `resource.element.reference`, where that is what is there."""
    holder = resource.get(element)
    text = holder.get("reference") if isinstance(holder, dict) else None
    return text if isinstance(text, str) else None
