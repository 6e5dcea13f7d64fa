"""What the de-identifier would not take is missing from the twin, and the twin says so.

Nobody knows what a resource says whose meaning is changed by rules we do not know, or that cannot
be read. It may be the very diagnosis that a model looks for: its slice is not complete.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from privacy.deidentify import Refused

Json = dict[str, Any]

# The last part of the path where a resource was refused → the word of the completeness.
_BY_ELEMENT = {"modifierExtension": "modifier-extension", "implicitRules": "implicit-rules"}
_BY_REASON = {
    "another-patient": "foreign-subject",
    "about-somebody-else": "foreign-subject",
    "unknown-subject": "subject-unproven",
}
_OUT_OF_SCOPE = "type-out-of-scope"


class Refusals:
    """The refusals of one run, by type and word."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def without(self, found: Iterable[Json | Refused]) -> Iterator[Json]:
        for item in found:
            if isinstance(item, Refused):
                self._count(item)
            else:
                yield item

    def without_alone(self, groups: Iterable[list[Any]]) -> Iterator[list[Json]]:
        """The same of records that stand together: what was refused stands by itself."""
        for group in groups:
            if len(group) == 1 and isinstance(group[0], Refused):
                self._count(group[0])
            else:
                yield group

    def _count(self, refused: Refused) -> None:
        if refused.reason != _OUT_OF_SCOPE:
            element = refused.path.rpartition(".")[2]
            word = _BY_ELEMENT.get(element) or _BY_REASON.get(refused.reason, "unreadable")
            self.counts[refused.type, word] += 1

    def told_in(self, completeness: Json) -> Json:
        """The completeness of a record, with what was refused of it."""
        if not self.counts:
            return completeness
        slices = [self._told(part) for part in completeness["slices"]]
        return completeness | {"slices": slices}

    def _told(self, part: Json) -> Json:
        mine = {word: n for (kind, word), n in self.counts.items() if kind == part["type"]}
        if not mine:
            return part
        dropped = dict(sorted((Counter(part.get("dropped", {})) + Counter(mine)).items()))
        if part["verdict"] != "complete":
            return part | {"dropped": dropped}
        return part | {"dropped": dropped, "verdict": "partial", "reason": min(mine)}
