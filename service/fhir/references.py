"""Every form of a reference to something we have becomes `Type/id`; other forms stay."""

import re
from collections.abc import Callable, Iterable
from typing import Any

# Type/id at the end of a relative or absolute reference, with or without a version.
_TAIL = re.compile(
    r"(?P<head>.*/)?(?P<plain>[A-Z][A-Za-z]{2,49}/[A-Za-z0-9._-]{1,128})(?:/_history/[^/]+)?\Z"
)


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


def rewriter(bases: Iterable[str]) -> Callable[[Any], None]:
    """A function that makes a resource's references plain, remembering what it has seen."""
    known = tuple(bases)
    seen: dict[str, str | None] = {}

    def resolve(text: str) -> str | None:
        if text not in seen:
            seen[text] = plain_reference(text, known)
        return seen[text]

    return lambda resource: rewrite(resource, resolve)


def reference_of(resource: Any, element: str) -> str | None:
    """The text of `resource.element.reference`, where that is what is there."""
    holder = resource.get(element)
    text = holder.get("reference") if isinstance(holder, dict) else None
    return text if isinstance(text, str) else None
