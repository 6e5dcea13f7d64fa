"""What came of an export, in counts and words. Names nobody."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.bulk.coverage import Coverage
from service.bulk.spool import File
from service.fhir.kinds import ALL

FAILED = "failed:"
UNREACHED = "unreached:"
OPEN = ":open"


@dataclass(frozen=True, slots=True)
class Report:
    """One export, or one folder."""

    files: Counter[str]
    """By state"""
    failures: Counter[str]
    """Files, by the reason why they did not come (whole)"""
    coverage: Coverage
    patients: Mapping[str, int]
    """By what came of them"""
    strangers: int
    """People who are spoken of and whose Patient did not come"""
    deleted: Mapping[str, int] = field(default_factory=dict)
    bad_lines: tuple[tuple[int, int, str], ...] = ()
    foreign: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def quarantine(self) -> Iterator[dict[str, Any]]:
        """Where lines are that nobody could read; never what they say."""
        for file, line, why in self.bad_lines:
            yield {"file": file, "line": line, "why": why}

    @property
    def complete(self) -> bool:
        """Nothing that was promised is missing, and nobody is left to be reached another time."""
        return not (self.failures or self.coverage.partial or self._with(UNREACHED))

    def _with(self, head: str) -> int:
        return sum(n for word, n in self.patients.items() if word.startswith(head))

    @property
    def made(self) -> int:
        return self._with("new") + self._with("unchanged")

    @property
    def failed(self) -> int:
        return self._with(FAILED) + self._with(UNREACHED)

    @property
    def unwritten(self) -> int:
        """Results that are not on the server yet."""
        return sum(n for word, n in self.patients.items() if word.endswith(OPEN))

    def missing(self) -> dict[str, str]:
        """Types of which absence proves nothing, and why."""
        claim = self.coverage.claim
        found = {kind: claim.of(kind).absent for kind in ALL}
        for kind in ALL:
            short = self.coverage.short.get(kind) or self.coverage.short.get("")
            found[kind] = short or found[kind]
        return {kind: reason for kind, reason in found.items() if reason != "complete"}

    def as_dict(self) -> dict[str, Any]:
        total = self.coverage.total
        return {
            "complete": self.complete,
            "files": dict(sorted(self.files.items())),
            "failures": dict(sorted(self.failures.items())),
            "lines": dict(sorted(total.lines.items())),
            "notRead": dict(sorted(total.outside.items())),
            "badLines": total.bad,
            "subjectUnproven": dict(sorted(total.unproven.items())),
            "outcomes": dict(sorted(total.outcomes.items())),
            "deleted": dict(self.deleted),
            "missing": self.missing(),
            "patients": dict(sorted(self.patients.items())),
            "strangers": self.strangers,
            "hostsRefused": list(self.foreign),
        }

    def counts(self) -> dict[str, int]:
        """The same, flat, as the job keeps them."""
        total = self.coverage.total
        return {
            "files": self.files.total(),
            "files-missing": self.failures.total(),
            "lines": total.lines.total(),
            "bad-lines": total.bad,
            "deleted": sum(self.deleted.values()),
            "twins": self.made,
            "new-versions": self._with("new"),
            "failed": self.failed,
            "unwritten": self.unwritten,
        }


def tally_files(files: Iterable[File]) -> tuple[Counter[str], Counter[str]]:
    states: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for file in files:
        states[file.state] += 1
        if file.reason:
            reasons[file.reason] += 1
    return states, reasons
