"""Lines that are not parsed give what parsed ones give: records, facts, counts and what the gate
looks for."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson
import pytest
from bulk_scene import heart_rate, record
from support.depth import examples

from privacy import layouts
from privacy.gate import IdentifyingValues
from privacy.pseudonyms import Pseudonyms
from privacy.subject import draw_epoch
from privacy.vault import SubjectRecord
from service.bulk.coverage import of_files
from service.bulk.intake import Intake
from service.bulk.manifest import OUTPUT, Listed
from service.bulk.records import Records, Skipped
from service.bulk.spool import Spool
from service.fhir import kinds, lined, r5
from service.fhir.grouping import identity_of
from service.fhir.kinds import KINDS
from service.fhir.lined import Outlines, looked_at
from service.fhir.record import PatientRecord
from service.fhir.references import reference_of
from service.fhir.versions import age_rank
from service.pipeline import search
from service.pipeline.asof import CLINICAL_TIMES, last_record
from service.pipeline.origin import IDENTIFIER_SYSTEM, is_own, without_own
from service.pipeline.reading import Reading
from service.sandbox.testing import population

Json = dict[str, Any]
COMPILED = layouts._apart is not None
TODAY = date(2026, 6, 1)
BASE = "https://fhir.example.org/r4"


class Read(NamedTuple):
    """What is made of one patient up to the facts."""

    record: PatientRecord
    foreign: PatientRecord
    day: date
    mapped: object
    counts: object
    refusals: object
    told: object
    sought: list[IdentifyingValues]


class Spooled:
    """Lines in a spool, read as an export is."""

    def __init__(self, folder: Path, lines: Sequence[bytes], **options: Any) -> None:
        folder.mkdir()
        self._spool = Spool(folder / "spool.db", bytes(32))
        self._spool.expect([Listed(OUTPUT, "", "file")])
        (file,) = self._spool.files()
        self.tally = Intake(self._spool, (BASE,)).take(file, lines)
        self.bad_lines = self._spool.bad_lines()
        self._spool.index()
        coverage = of_files(self._spool.files())
        options = {"base": BASE, "bases": (BASE,)} | options
        self.records = Records(self._spool, coverage, "bulk", **options)

    def __enter__(self) -> "Spooled":
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def read(self, ids: dict[str, SubjectRecord]) -> dict[str, Read | Skipped]:
        return {
            who: found if isinstance(found, Skipped) else _read(found, ids)
            for who, found in self.records.everybody()
        }


def _read(found: PatientRecord, ids: dict[str, SubjectRecord]) -> Read:
    """`ids`: pseudonyms drawn before, for those who were read before."""
    foreign = without_own(found)
    link = ids.setdefault(found.patient_id, _link(found))
    patient = next(r for r in foreign.resources if r["resourceType"] == "Patient")
    reading = Reading.of(patient, (link, 0), "safe-harbor", TODAY, found.base)
    mapped = reading.facts(foreign.resources)
    session = reading.session
    return Read(
        found,
        foreign,
        last_record(looked_at(foreign.resources), TODAY),
        mapped,
        session.counts,
        session.refusals,
        reading.refused.counts,
        list(search._collected(foreign.resources, 7)),
    )


def _link(found: PatientRecord) -> SubjectRecord:
    return SubjectRecord(
        project="test", base=found.base, patient=f"Patient/{found.patient_id}", twin="t",
        epoch=draw_epoch(TODAY), ids=Pseudonyms(), identity={},
    )  # fmt: skip


class Parsed(NamedTuple):
    """How many lines."""

    coming_in: int
    going_out: int


def agree(folder: Path, lines: Sequence[bytes], **options: Any) -> tuple[Parsed, Parsed]:
    """Both ways give the same; what each has parsed."""
    ids: dict[str, SubjectRecord] = {}
    with Spooled(folder / "short", lines, **options) as short:
        first = short.read(ids)
        counted = Parsed(short.tally.parsed, short.records.parsed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layouts, "_apart", None)
        with Spooled(folder / "parsed", lines, **options) as parsed:
            second = parsed.read(ids)
    assert first.keys() == second.keys()
    for who, found in first.items():
        assert plain(found) == plain(second[who])
    assert short.bad_lines == parsed.bad_lines
    assert replace(short.tally, parsed=0) == replace(parsed.tally, parsed=0)
    return counted, Parsed(parsed.tally.parsed, parsed.records.parsed)


def plain(found: Read | Skipped) -> object:
    """To be compared; which has everything parsed."""
    if isinstance(found, Skipped):
        return found
    return found._replace(record=_plain(found.record), foreign=_plain(found.foreign))


def _plain(found: PatientRecord) -> PatientRecord:
    return replace(found, resources=list(found.resources), deleted=())


# -- the two ways ----------------------------------------------------------------------------------


def hardly(some: Parsed, all_of_them: Parsed) -> bool:
    """Without a compiler all are."""
    if not COMPILED:
        return some == all_of_them
    return all(few < many / 4 for few, many in zip(some, all_of_them, strict=True))


def test_what_is_alike_is_hardly_parsed(tmp_path: Path) -> None:
    rates = [heart_rate(f"o{n}", "p1", 50 + n / 2) for n in range(60)]
    lines = list(map(line_of, [*rates, *record("p1")]))
    some, all_of_them = agree(tmp_path, lines)
    assert hardly(some, all_of_them)
    assert all_of_them.coming_in == len(lines)


@pytest.mark.slow
def test_patients_of_the_sandbox_are_read_alike(tmp_path: Path) -> None:
    people = population()[::7]
    lines = [line_of(resource) for person in people for resource in person.resources]
    assert hardly(*agree(tmp_path, lines))


def about(kind: str, number: int, **more: Any) -> Json:
    return {"resourceType": kind, "id": f"{kind}-{number}"} | more


SUBJECT = {"subject": {"reference": "Patient/p1"}}
HYPERTENSION = {"code": {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]}}


def condition(number: int, status: str) -> Json:
    verified = {"verificationStatus": {"coding": [{"code": status}], "text": "as written"}}
    return about(
        "Condition", number, onsetDateTime="2019-05", **HYPERTENSION, **SUBJECT, **verified
    )


def rate(number: int, **more: Any) -> Json:
    return heart_rate(f"o{number}", "p1", 50 + number / 10) | more


def of(reference: Any) -> Json:
    return {"subject": {"reference": reference}}


ORDER: Json = {"intent": "order", "status": "active", "authoredOn": "2026-02-01", **SUBJECT}
UNUSUAL: list[Callable[[int], Json]] = [
    rate,
    lambda n: rate(n % 2, meta={"versionId": str(n), "lastUpdated": f"2026-01-0{n}T00:00:00Z"}),
    lambda n: rate(n, status="entered-in-error"),
    lambda n: rate(n, subject={"reference": f"{BASE}/Patient/p1", "display": "Zorkmidt"}),
    lambda n: rate(n, encounter={"reference": f"{BASE}/Encounter/e{n}/_history/1"}),
    lambda n: rate(n, encounter={"reference": f"Encounter/e{n}/_history/1"}),
    lambda n: rate(n, **of("https://other.example.org/Patient/p1")),
    lambda n: rate(n, **of(f"Patient/p{n % 4}")),
    lambda n: rate(n, **of(n)),
    lambda n: rate(n, subject=[{"reference": "Patient/p1"}]),
    lambda n: rate(n, subject=None),
    lambda n: rate(n, note=[{"text": f"seen with Aurelia Zorkmidt on 1960-02-0{n}"}]),
    lambda n: rate(n, identifier=[{"system": IDENTIFIER_SYSTEM, "value": str(n)}]),
    lambda n: rate(n, identifier=[{"system": "urn:other", "value": str(n)}]),
    lambda n: rate(n, identifier=[{"system": n}]),
    lambda n: rate(n, meta={"a name": "Zorkmidt"}),
    lambda n: rate(n, effectiveDateTime=f"202{n}"),
    lambda n: rate(n, effectiveDateTime="someday"),
    lambda n: rate(n, effectiveDateTime=f"2027-01-0{n}"),
    lambda n: rate(n, valueQuantity={"value": 1e30 * n}),
    lambda n: rate(n, status="Zorkmidt"),
    lambda n: rate(n, status=["cancelled"]),
    lambda n: rate(n, modifierExtension=[{"url": "urn:x", "valueBoolean": True}]),
    lambda n: rate(n, contained=[about("Medication", n)]),
    lambda n: rate(n, extension=[{"url": "urn:x", "valueString": "Zorkmidt"}]),
    lambda n: rate(n, id=""),
    lambda n: rate(n, id=n),
    lambda n: rate(n, id=None),
    lambda n: rate(n, code={"coding": [{"code": "Zorkmidt"}], "text": f"MRN-770000{n}"}),
    lambda n: rate(n, note=[{"text": "x" * 9000}]),
    lambda n: rate(n, x={"y": [[[{}]]] * 70}),
    lambda n: condition(n, "confirmed"),
    lambda n: condition(n, "refuted"),
    lambda n: about("MedicationRequest", n, doNotPerform=n > 1, **ORDER),
    lambda n: about("MedicationRequest", n, medicationReference={"reference": f"Medication/m-p{n}"},
                    **ORDER),
    lambda n: about("AllergyIntolerance", n, patient={"reference": "Patient/p1"}, **HYPERTENSION),
    lambda n: about("Claim", n, status="active", patient={"reference": "Patient/p1"}),
    lambda n: about("Coffee", n, **SUBJECT),
    lambda n: about("Device", n, status="active"),
    lambda n: about("OperationOutcome", n, issue=[{"severity": "error", "code": "exception"}]),
    lambda n: about("Patient", n, id=f"p{n + 2}", birthDate="1950",
                    link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}]),
]  # fmt: skip


def written(source: Json, random: Random) -> bytes:
    """As one system or another writes it."""
    line = orjson.dumps(source)
    spelled = random.choice([
        lambda: line,
        lambda: json.dumps(source).encode(),
        lambda: line.replace(b"P", b"\\u0050", 1),
        lambda: line.replace(b"/", b"\\/"),
        lambda: line.replace(b'"id":', b'"id" :', 1),
        lambda: line[:-1] + b',"id":"twice"}',
        lambda: line[:-1],
    ])  # fmt: skip
    return line if random.random() < 0.8 else spelled()


def unusual(random: Random) -> list[bytes]:
    sources = [source for n in (1, 2) for source in record(f"p{n}", n)]
    sources += [make(n) for make in UNUSUAL for n in (1, 2)]
    lines = [written(source, random) for source in sources]
    random.shuffle(lines)
    return [line_of(record("p1")[0]), *lines]


def line_of(source: Json) -> bytes:
    return orjson.dumps(source)


def test_unusual_lines_are_read_alike(tmp_path: Path) -> None:
    for seed in range(examples(100) // 6):
        (folder := tmp_path / str(seed)).mkdir()
        some, all_of_them = agree(folder, unusual(Random(seed)))
        assert some.going_out < all_of_them.going_out if COMPILED else some == all_of_them


def test_what_is_looked_at_in_an_outline_is_what_the_resource_says() -> None:
    lines = [line for seed in range(4) for line in unusual(Random(seed))]
    found = [
        (orjson.loads(line), outline)
        for line, outline in zip(lines, Outlines().of(lines), strict=True)
        if outline is not None
    ]
    assert len(found) > len(lines) / 4 if COMPILED else not found
    for source, outline in found:
        assert looked(outline) == looked(source)
        brief = outline.alike.known.brief
        made = brief.make(tuple(outline.cut[at] for at in brief.wanted))
        assert said(made) == said(source)


def looked(found: Json) -> object:
    """All that is asked of a resource before it is de-identified."""
    medicine = reference_of(found, "medicationReference")
    day = last_record([found], TODAY)
    return said(found), medicine, kinds.withdrawn(found), age_rank(found), is_own(found), day


def said(found: Json) -> object:
    """What it is, and whose."""
    kind = found["resourceType"]
    elements = KINDS[kind].subject if kind in KINDS else ()
    return kind, identity_of(found, ""), [reference_of(found, element) for element in elements]


def test_an_outline_has_all_that_is_asked_for() -> None:
    subjects = {element for kind in KINDS.values() for element in kind.subject}
    times = {path[0] for name in KINDS for path in CLINICAL_TIMES.get(name, ())}
    assert subjects | times - {"started"} <= lined._LOOKED.keys()  # of images: never outlined
    assert subjects <= set(lined._WHOSE)


def test_what_another_release_writes_is_parsed(tmp_path: Path) -> None:
    some, all_of_them = agree(tmp_path, list(map(line_of, record("p1"))), shape=r5.as_r4)
    assert some.going_out == all_of_them.going_out


def test_what_is_looked_at_is_whole(tmp_path: Path) -> None:
    lines = list(map(line_of, record("p1")))
    with Spooled(tmp_path / "one", lines) as spooled:
        found = spooled.records.of("p1")
        assert isinstance(found, PatientRecord)
        before = spooled.records.parsed
        assert found.resources[2] == found.resources[1:][1] == list(found.resources)[2]
        assert (spooled.records.parsed > before) is COMPILED
        assert sorted(map(line_of, found.resources)) == sorted(lines)


def test_outlines_hold_nothing_that_repeats() -> None:
    """A code may be one patient's: what is made of lines holds names and places alone."""
    lines = [
        line_of(rate(n, status="Zorkmidt", method={"coding": [{"code": "MRN-77"}]})) for n in (1, 2)
    ]
    for outline in Outlines().of(lines):
        assert outline is None or not {"Zorkmidt", "MRN-77"} & set(
            outline.alike.known.make.__code__.co_consts
        )
        assert (outline is not None) is COMPILED
