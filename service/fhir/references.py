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
    """Replace, in place and at any depth, each `reference` that `resolve` knows better."""
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, dict):
            text = current.get("reference")
            if isinstance(text, str):
                current["reference"] = resolve(text) or text
            stack.extend(v for v in current.values() if isinstance(v, dict | list))
        else:
            stack.extend(v for v in current if isinstance(v, dict | list))


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
