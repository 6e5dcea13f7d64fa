"""The DICOM metadata of one series in, what the policy lets through out, everything counted.

A data set is one in the DICOM JSON model (PS3.18 F): `{tag: {"vr": …, "Value": […]}}`. Nothing in
it is trusted: whatever has not the expected shape is dropped.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from privacy.dicom.tables import ATTRIBUTES, GROUPS, Attribute, listed

Dataset = Mapping[str, Any]
Counts = Counter[tuple[str, str]]  # (attribute, what was done)
Values = dict[str, list[list[Any]]]

NUMBERS = frozenset({"DS", "IS", "FD", "FL", "US", "UL", "SS", "SL", "UV", "SV"})
LARGEST = 1e13  # as for the numbers of FHIR
LONGEST = 32  # characters of a number, or of a word


@dataclass(slots=True)
class _Node:
    """One place in a data set that the policy judges, or that lies on the way to one."""

    path: str
    attribute: Attribute
    action: str = ""
    inner: dict[str, "_Node"] = field(default_factory=dict)


class Judge:
    """The `[dicom]` section of one policy, ready to apply. Holds no patient; threads share it."""

    def __init__(self, verdicts: Mapping[str, str]) -> None:
        """`verdicts`: path of keywords → action."""
        self._top: dict[str, _Node] = {}
        for path, action in verdicts.items():
            self._place(path).action = action

    def _place(self, path: str) -> _Node:
        below, walked, node = self._top, "", None
        for keyword in path.split("."):
            attribute = ATTRIBUTES[keyword]
            walked = f"{walked}.{keyword}" if walked else keyword
            node = below.setdefault(attribute.tag, _Node(walked, attribute))
            below = node.inner
        assert node is not None
        return node

    def acquisition(self, datasets: Iterable[Dataset], counts: Counts) -> dict[str, Any]:
        """How a series was acquired: instances read, and by attribute the values of each place."""
        values: Values = {}
        read = 0
        for dataset in datasets:
            read += 1
            for item in (dataset, *_groups(dataset)):
                self._walk(item, self._top, values, counts)
        return {"read": read, "values": values}

    def _walk(
        self, dataset: Dataset, below: dict[str, _Node], values: Values, counts: Counts
    ) -> None:
        for tag, element in dataset.items():
            node = below.get(tag)
            if tag in GROUPS and below is self._top:
                continue  # looked through by the caller
            if node is None:
                counts[dropped(tag)] += 1
            elif node.action:
                self._leaf(node, element, values, counts)
            else:
                for item in _items(element):
                    self._walk(item, node.inner, values, counts)

    def _leaf(self, node: _Node, element: Any, values: Values, counts: Counts) -> None:
        reader = _READERS.get(node.action)
        if reader is None:
            counts[(node.path, _ELSEWHERE[node.action])] += 1
            return
        found = reader(node.attribute, element)
        if found is None:
            counts[(node.path, "drop:wrong-type")] += 1
            return
        counts[(node.path, node.action)] += 1
        if found:
            values.setdefault(node.path, []).append(found)


def dropped(tag: str) -> tuple[str, str]:
    """Under which name a dropped attribute is counted. Only published names: a tag may be anything
    a server sends."""
    known = listed(tag)
    if known is not None:
        return known.keyword, f"drop:profile-{known.action.replace('/', '-').rstrip('*')}"
    private = len(tag) == 8 and tag[3:4] in tuple("13579BDF")
    return "*", "drop:private" if private else "drop:not-asked-for"


def _groups(dataset: Dataset) -> Iterator[Dataset]:
    for tag in sorted(GROUPS & dataset.keys()):
        yield from _items(dataset[tag])


def _items(element: Any) -> Iterator[Dataset]:
    listed_ = element.get("Value") if type(element) is dict else None
    for item in listed_ if type(listed_) is list else ():
        if type(item) is dict:
            yield item


def _given(element: Any) -> list[Any] | None:
    """The values of an element; none of an empty one; None where it has no proper shape."""
    if type(element) is not dict:
        return None
    found = element.get("Value", [])
    return [value for value in found if value is not None] if type(found) is list else None


def _number(attribute: Attribute, element: Any) -> list[Any] | None:
    found = _given(element)
    if found is None:
        return None
    numbers = [_as_number(value) for value in found]
    return None if None in numbers else numbers


def _as_number(value: Any) -> float | None:
    if type(value) is str and len(value) <= LONGEST:
        try:
            value = float(value)
        except ValueError:
            return None
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) >= LARGEST:
        return None
    return float(value)


def _code(attribute: Attribute, element: Any) -> list[Any] | None:
    found = _given(element)
    if found is None or not all(type(value) is str for value in found):
        return None
    words = [value.strip().upper() for value in found]
    return words if attribute.words.issuperset(words) else None


def _present(attribute: Attribute, element: Any) -> list[Any] | None:
    """Whether anything is there. An empty attribute says nothing either way."""
    found = _given(element)
    if found is None:
        return None
    said = [value for value in found if value not in ("", {})]
    absent = [type(v) is str and v.strip().upper() in attribute.absent for v in said]
    return [not all(absent)] if said else []


# Used by whoever asked for it, and not handed on from here.
_ELSEWHERE = {"compare": "drop:compared", "fhir": "drop:copied-to-fhir", "drop": "drop"}
_READERS = {"number": _number, "code": _code, "present": _present}
