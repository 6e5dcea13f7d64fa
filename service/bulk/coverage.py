"""What an export lets us conclude: type by type, from what was asked, listed, fetched and read.

The export of a population covers a type once a file of it arrived: a person without a line of it
then has none. A type of which no file came at all may be empty, or not exported without a word;
that is unknown, unless the operator vouches for the server (`bulk.empty_means_none`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from service.bulk.intake import Tally
from service.bulk.manifest import DELETED, ERROR
from service.bulk.spool import File
from service.fhir.bundle import HELD, NOT_IN_FILE, WHOLE
from service.fhir.grouping import Claim
from service.fhir.kinds import KINDS
from service.fhir.subjects import UNPROVEN


@dataclass(slots=True)
class Coverage:
    claim: Claim = HELD
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    short: dict[str, str] = field(default_factory=dict)
    total: Tally = field(default_factory=Tally)

    @property
    def partial(self) -> bool:
        """Whether anything that was promised is missing."""
        return bool(self.short or self.lost)


def of_files(files: Iterable[File]) -> Coverage:
    """Of a folder, or of an export as far as its files go."""
    found = Coverage()
    for file in files:
        tally = Tally.of(file.tally)
        found.total += tally
        _shorten(found.short, file)
        for name in tally.losses:
            found.short.setdefault(name, "server-outcome")
        if tally.bad:
            found.lost[_type_of_lost(file, tally), "bad-line"] += tally.bad
        for kind, count in tally.unproven.items():
            found.lost[kind, UNPROVEN] += count
        for kind, count in tally.no_id.items():
            found.lost[kind, "no-id"] += count
    return found


def of_export(
    files: Iterable[File],
    *,
    asked: tuple[str, ...],
    form: str,
    left_out: Mapping[str, str],
    unreadable: int,
    empty_means_none: bool,
) -> Coverage:
    """`form`: of the question, without values; `left_out`: types that were not asked for, and why;
    `unreadable`: items of the manifest that name no file."""
    found = of_files(files)
    if unreadable:
        found.short.setdefault("", "not-fhir")
    claims = {}
    for kind in KINDS:
        if kind in left_out:
            claims[kind] = Claim(left_out[kind], left_out[kind])
        elif found.total.lines[kind] or (empty_means_none and kind in asked):
            claims[kind] = replace(WHOLE, asked=form)
    found.claim = Claim("complete", NOT_IN_FILE, claims, asked=form)
    return found


def _shorten(short: dict[str, str], file: File) -> None:
    """A file that did not come, or not whole, costs its type; one of any type costs all. A list of
    what was deleted costs none: what is gone is in no file either."""
    if not file.reason or file.section == DELETED:
        return
    name = "" if file.section == ERROR else file.type
    short.setdefault(name, file.reason)


def _type_of_lost(file: File, tally: Tally) -> str:
    """A file of one type loses lines of that type; otherwise it could have been any."""
    types = tally.types() | ({file.type} if file.type else set())
    return types.pop() if len(types) == 1 else ""
