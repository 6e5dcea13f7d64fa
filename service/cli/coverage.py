"""`twinport coverage`: which codes of a record the map knows, and which it does not.

Records go through the de-identifier first, as in a run, so that a code that could be anything (of a
local system, or in no code's form) is counted and never shown. Nothing is kept.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from mappings import vocabulary
from mappings.from_fhir import map_records
from mappings.from_fhir.mapper import MAPPERS
from privacy.deidentify import Deidentifier, Refused
from privacy.pseudonyms import Pseudonyms
from privacy.subject import SubjectContext, draw_epoch
from service.bulk.folder import opened
from service.cli.output import emit, progress
from service.config import load_config
from service.fhir.bundle import read_bundle
from service.fhir.record import PatientRecord
from service.pages import words
from service.pipeline.guards import deidentifier_of

Json = dict[str, Any]

POLICY = "safe-harbor"
SHOWN = 15  # codes of one type on a screen; `--all` and `--json` give every one


class Code(NamedTuple):
    """A code that no table of ours knows what to do with. Both empty: there is none to read."""

    type: str
    system: str
    code: str


@dataclass
class Coverage:
    """Counts over any number of patients. Holds no value and no id."""

    patients: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    out_of_scope: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    unmapped: Counter[Code] = field(default_factory=Counter)
    aside: Counter[str] = field(default_factory=Counter)
    numbers: int = 0
    """Observations that carry a number with a unit."""
    mapped: int = 0
    """Of these: mapped whole."""
    ruled: int = 0
    """Of these: set aside, whole or in part, under a declared rule."""

    @property
    def share(self) -> float | None:
        """Of the Observations with a number and a unit: how many have an account given of them."""
        return (self.mapped + self.ruled) / self.numbers if self.numbers else None

    def add(self, record: PatientRecord, deidentifier: Deidentifier) -> None:
        self.patients += 1
        self.out_of_scope.update(record.out_of_scope)
        cleaned: list[Json] = []
        session = deidentifier.session(_subject(record))
        for resource in record.resources:
            kind = str(resource["resourceType"])
            self.seen[kind] += 1
            made = session.apply(resource)
            if isinstance(made, Refused):
                self.refused[(made.type, made.reason)] += 1
            elif kind in MAPPERS or kind == "Medication":
                cleaned.append(made)
            if kind == "Observation":
                self._number(resource, made)
        self._map(cleaned, session.now)

    def _map(self, records: list[Json], now: int) -> None:
        mapped = map_records(records, now)
        self.aside.update(fact.rule for fact in mapped.set_aside)
        for kind, system, code, count in mapped.unmapped:
            self.unmapped[Code(kind, system, code)] += count

    def _number(self, resource: Mapping[str, Any], made: Json | Refused) -> None:
        """Strict: one value of an Observation that is not accounted for and it is not counted."""
        if not _has_number(resource):
            return
        self.numbers += 1
        if isinstance(made, Refused):
            return
        alone = map_records([made])
        if alone.unmapped:
            return
        self.ruled += bool(alone.set_aside)
        self.mapped += bool(alone.measurements) and not alone.set_aside

    def as_dict(self) -> Json:
        numbers = {
            "n": self.numbers,
            "mapped": self.mapped,
            "setAside": self.ruled,
            "share": self.share,
        }
        return {
            "patients": self.patients,
            "resources": dict(self.seen.most_common()),
            "notRead": dict(self.out_of_scope.most_common()),
            "refused": [
                {"type": kind, "reason": reason, "n": n}
                for (kind, reason), n in self.refused.most_common()
            ],
            "numbersWithUnit": numbers,
            "setAside": dict(self.aside.most_common()),
            "unmapped": [_without_empty(code) | {"n": n} for code, n in _ordered(self.unmapped)],
        }


@click.command("coverage")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A Bundle or single resource as JSON, .gz too; may be repeated.",
)
@click.option(
    "--ndjson",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder of NDJSON files, as Bulk Data gives them.",
)
@click.option("--all", "every", is_flag=True, help="Every code, not only the most frequent.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(bundles: tuple[Path, ...], ndjson: Path | None, every: bool, as_json: bool) -> None:
    """Which codes of these records are mapped, and which are not, with counts.

    Before a first run on a new server: what would be missed? Nothing is kept or sent.
    """
    if bool(bundles) == bool(ndjson):
        raise click.UsageError("give --bundle (once or more) or --ndjson")
    found = cover(_records(bundles, ndjson), total=len(bundles) or None)
    if as_json:
        emit(found.as_dict())
        return
    for line in lines(found, None if every else SHOWN):
        click.echo(line)


def cover(groups: Iterable[Iterable[PatientRecord]], total: int | None = None) -> Coverage:
    deidentifier, found = deidentifier_of(POLICY), Coverage()
    with progress("reading", total) as bar:
        for records in groups:
            for record in records:
                found.add(record, deidentifier)
            bar.update(1)
    return found


def _records(bundles: Sequence[Path], ndjson: Path | None) -> Iterator[Iterable[PatientRecord]]:
    if ndjson is not None:
        with opened(ndjson, load_config().spool_dir) as folder:
            yield folder.records()
    for path in bundles:
        yield read_bundle(path)


def _subject(record: PatientRecord) -> SubjectContext:
    """A patient nobody keeps: epoch and pseudonyms of the moment."""
    today = datetime.now(UTC).date()
    patient: Mapping[str, Any] = next(
        (r for r in record.resources if r.get("resourceType") == "Patient"), {}
    )
    return SubjectContext.of(
        patient,
        epoch=draw_epoch(today),
        now=today,
        pseudonym=Pseudonyms(),
        bases=(record.base,),
    )


def _has_number(resource: Mapping[str, Any]) -> bool:
    elements = [resource, *(resource.get("component") or ())]
    return any(_is_number(element.get("valueQuantity")) for element in elements)


def _is_number(quantity: Any) -> bool:
    return (
        isinstance(quantity, dict)
        and quantity.get("value") is not None
        and bool(quantity.get("unit") or quantity.get("code"))
    )


def _ordered(unmapped: Counter[Code]) -> list[tuple[Code, int]]:
    return sorted(unmapped.items(), key=lambda item: (item[0].type, -item[1], item[0]))


def _without_empty(code: Code) -> Json:
    return {name: value for name, value in code._asdict().items() if value}


# -- for people ------------------------------------------------------------------------------------


def lines(found: Coverage, most: int | None) -> Iterator[str]:
    people = words.counted(found.patients, "patient")
    yield f"{people}, {found.seen.total():,} resources of the types we read"
    if found.out_of_scope:
        listed = ", ".join(f"{kind} {n:,}" for kind, n in found.out_of_scope.most_common(8))
        yield f"  not read    {listed}"
        rules = vocabulary.type_rules()
        yield from (
            f"              {k}: {rules[k].sentence}" for k in rules if k in found.out_of_scope
        )
    for (kind, reason), n in found.refused.most_common():
        yield f"  refused     {kind} {n:,}: {reason}"
    if found.share is not None:
        yield (
            f"  numbers     {found.numbers:,} Observations carry a number with a unit: "
            f"{found.mapped:,} mapped, {found.ruled:,} set aside under a rule ({found.share:.1%})"
        )
    sentences = vocabulary.rules()
    for rule, n in found.aside.most_common():
        yield f"  set aside   {n:>8,}  {rule}: {sentences[rule].sentence}"
    yield from _unmapped_lines(found, most)


def _unmapped_lines(found: Coverage, most: int | None) -> Iterator[str]:
    kinds = Counter[str]()
    for code, n in found.unmapped.items():
        kinds[code.type] += n
    for kind, total in kinds.most_common():
        codes = [(code, n) for code, n in _ordered(found.unmapped) if code.type == kind]
        yield f"{kind}: {total:,} items under {len(codes)} codes that are not ours"
        for code, n in codes[:most]:
            name = f"{code.system} {code.code}" if code.code else "(no code that can be read)"
            yield f"  {n:>8,}  {name}"
        if most is not None and len(codes) > most:
            yield f"            and {len(codes) - most} more (--all)"
