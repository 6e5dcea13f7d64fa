"""What is measured. Every case works on the sandbox's population or on numbers it draws itself."""

import gzip
import importlib.util
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson

from bench.deidentified import deidentified, deidentified_lines, forgetful_vault
from bench.harness import Aim, Case, passthrough, passthrough_lines
from bench.long import bundle
from bench.processes import sandbox
from bench.pulls import pull_cases
from bench.served import MODEL as PATIENT
from mappings.from_fhir import map_groups, map_unique
from mappings.vocabulary.facts import Mapped
from privacy import gate, ledger
from privacy.deidentify import Deidentifier, Refused, Session
from privacy.forms import Form, Forms, Leaves
from privacy.lines import Lines
from privacy.policy import load_policy
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.render import Renderer
from privacy.signing import SigningKey, envelope
from privacy.subject import SubjectContext, draw_epoch
from privacy.vault import SubjectRecord
from service.bulk.folder import opened
from service.fhir.bundle import read_bundle
from service.fhir.kinds import ALL, CARRIED
from service.fhir.record import PatientRecord
from service.pipeline.guards import GUARDS
from service.pipeline.make import allowed
from service.pipeline.origin import without_own
from service.pipeline.reading import Reading
from service.pipeline.refusals import Refusals
from service.pipeline.search import searched
from service.sandbox.population import PatientBundle, generate
from twin_engine.document import Header, build, dump
from twin_engine.models.assess import assess
from twin_engine.models.contract import Model
from twin_engine.models.registry import all_models, default_models, get
from twin_engine.state import UNITS_PER_DAY, State

Json = dict[str, Any]
Part = tuple[Json, list[bytes]]  # a Patient, and lines of NDJSON about them

DAY = date(2026, 6, 1)
FLOOR = "loads+dumps"
ROWS = 100_000
POLICY = "safe-harbor"
SIZES = (100, 1_000, 10_000, 100_000)
LARGE = 10_000


@contextmanager
def cases(quick: bool, folder: Path | None = None) -> Iterator[list[Case]]:
    """All cases; `quick` takes a third of the population. Bundles may be those of a folder."""
    people = generate(DAY)
    chosen = people[::3] if quick else people
    one = next(person for person in people if person.id == PATIENT)
    full = [(_patient(person), _lines(person)) for person in chosen]
    compact = [(who, _compact(some)) for who, some in full]
    with sandbox(DAY) as base, TemporaryDirectory() as written:
        yield [
            _observations("Observations", full),
            _observations("compact Observations", compact),
            _as_fhir("Observations", full),
            _as_fhir("compact Observations", compact),
            _deidentify(files := _bundles(folder) if folder else _own(chosen)),
            _deidentify_lines(chosen, Path(written)),
            _twins(files),
            _twins_of_lines(chosen, Path(written)),
            *(_long_twin(one, size) for size in (SIZES[:3] if quick else SIZES)),
            *_assessments(one),
            _prevent(),
            _prevent_and_peer(),
            *pull_cases(base, quick),
        ]


# -- bytes to facts ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kit:
    """What a service makes once and keeps."""

    deidentifier: Deidentifier
    lines: Lines
    signer: SigningKey

    def session(self, patient: Json, link: SubjectRecord) -> Session:
        return self.deidentifier.session(
            SubjectContext.of(patient, epoch=link.epoch, now=DAY, pseudonym=link.ids, bases=())
        )


def _kit() -> _Kit:
    return _Kit(Deidentifier(load_policy(POLICY), GUARDS), Lines(), SigningKey.generate())


def _link(patient: str) -> SubjectRecord:
    return SubjectRecord(
        project="bench",
        base="",
        patient=f"Patient/{patient}",
        twin=new_pseudonym(),
        epoch=draw_epoch(DAY),
        ids=Pseudonyms(),
        identity={},
    )


def _observations(name: str, parts: list[Part]) -> Case:
    """De-identify and map NDJSON of Observations: bytes in, facts out, everything counted."""
    return _of_lines("de-identify and map", name, parts, _facts, Aim(ratio=2.5))


def _of_lines(
    what: str,
    name: str,
    parts: list[Part],
    work: Callable[[_Kit, Json, list[bytes]], object],
    aim: Aim,
) -> Case:
    """Patient by patient; the floor of all their lines. As of the floor, nothing is kept: nobody
    holds the facts of one patient while he reads the next."""
    kit = _kit()
    lines = [line for _, some in parts for line in some]

    def all_parts() -> None:
        for patient, some in parts:
            work(kit, patient, some)

    return Case(
        name=f"{what}, {len(lines):,} {name}",
        work=all_parts,
        floor=passthrough_lines(lines),
        floor_name=FLOOR,
        count=len(lines),
        unit="resources",
        aim=aim,
    )


def _facts(kit: _Kit, patient: Json, lines: list[bytes]) -> object:
    session = kit.session(patient, _link(patient["id"]))
    groups = Refusals().without_alone(session.alike(lines, orjson.loads))
    per_day = UNITS_PER_DAY[session.policy.time.unit]
    return map_groups(groups, session.now, per_day), session.counts


def _mapped(session: Session, records: Iterable[Json]) -> Mapped:
    """As a run does it: record by record, none is held."""
    return map_unique(records, session.now, UNITS_PER_DAY[session.policy.time.unit])


def _patient(person: PatientBundle) -> Json:
    return next(r for r in person.resources if r["resourceType"] == "Patient")


def _lines(person: PatientBundle) -> list[bytes]:
    return [orjson.dumps(r) for r in person.resources if r["resourceType"] == "Observation"]


COMPACT = (
    "resourceType", "id", "status", "code", "subject", "effectiveDateTime", "valueQuantity",
)  # fmt: skip


def _compact(lines: list[bytes]) -> list[bytes]:
    """The measurements among them, with nothing but what a measurement needs."""
    found = [resource for resource in map(orjson.loads, lines) if "valueQuantity" in resource]
    return [orjson.dumps(_needed(resource)) for resource in found]


def _needed(resource: Json) -> Json:
    kept = {key: resource[key] for key in COMPACT if key in resource}
    codings = [{key: one[key] for key in ("system", "code")} for one in kept["code"]["coding"]]
    return kept | {"code": {"coding": codings}}


# -- bytes to FHIR ---------------------------------------------------------------------------------


def _as_fhir(name: str, parts: list[Part]) -> Case:
    """The same lines to de-identified FHIR: bytes in, bytes out, everything counted."""
    return _of_lines("de-identify as FHIR", name, parts, _rendered, Aim(ratio=4))


def _rendered(kit: _Kit, patient: Json, lines: list[bytes]) -> object:
    """As files of lines are written: a form's lines together, others by the renderer."""
    session = kit.session(patient, _link(patient["id"]))
    alike, records = _with_forms(session, kit.deidentifier.forms, lines)
    ours = [one[form.name] for form, some in alike for one in some]
    renderer = Renderer(session, ours=[*ours, *(record["id"] for record in records)])
    written = sum(len(orjson.dumps(renderer.resource(record))) for record in records)  # not kept
    for form, some in alike:
        written += sum(map(len, kit.lines.written(session, renderer, form, some)))
    return written, session.counts


def _with_forms(
    session: Session, forms: Forms, lines: list[bytes]
) -> tuple[list[tuple[Form, list[Leaves]]], list[Json]]:
    """The leaves of those of each known form, the records of others."""
    groups, others = forms.groups(lines)
    alike: list[tuple[Form, list[Leaves]]] = []
    for form, values, places in groups:
        leaves = session.leaves_of(form, values)
        if leaves is None:
            others += places
        else:
            alike.append((form, leaves))
    rest = [lines[at] for at in others]
    parsed = (session.of_parsed(line, orjson.loads(line)) for line in rest)
    return alike, [record for record in parsed if not isinstance(record, Refused)]


# -- a Bundle to a Bundle --------------------------------------------------------------------------


def _deidentify(files: list[bytes]) -> Case:
    """`$de-identify`, patient by patient; every resource that is given out is searched."""
    vault = forgetful_vault()
    return Case(
        name=f"$de-identify, {len(files)} patients",
        work=[partial(deidentified, vault, file, POLICY, DAY) for file in files],
        floor=[passthrough(file) for file in files],
        floor_name=FLOOR,
        count=1,
        unit="patients",
        aim=Aim(ratio=4),
    )


def _deidentify_lines(people: list[PatientBundle], folder: Path) -> Case:
    """All Observations, and whose they are, as one file: read line by line, twice, and written."""
    vault, file = forgetful_vault(), folder / "all.ndjson"
    lines = [line for person in people for line in _lines(person)]
    patients = [orjson.dumps(_patient(person)) for person in people]
    file.write_bytes(b"\n".join([*patients, *lines]))
    return Case(
        name=f"twinport deidentify, a file of {len(lines):,} Observations",
        work=partial(deidentified_lines, vault, file, POLICY, DAY),
        floor=passthrough_lines([*patients, *lines]),
        floor_name=FLOOR,
        count=len(lines),
        unit="resources",
        aim=Aim(ratio=4),
    )


# -- bytes to a signed twin ------------------------------------------------------------------------


def _twins(files: list[bytes]) -> Case:
    """A patient's Bundle to `twin.json`, in memory, without models: the whole privacy path.

    Patient by patient: one long record should not speak for all.
    """
    kit = _kit()
    return Case(
        name=f"Bundle to signed twin, {len(files)} patients",
        work=[partial(_twin, kit, file) for file in files],
        floor=[passthrough(file) for file in files],
        floor_name=FLOOR,
        count=1,
        unit="patients",
        aim=Aim(ratio=4),
    )


def _twins_of_lines(people: list[PatientBundle], folder: Path) -> Case:
    """The same of a folder of NDJSON as a server exports it, a file for each type: into the sealed
    spool, and out of it patient by patient."""
    kit, files = _kit(), folder / "export"
    lines = _exported(people, files)
    return Case(
        name=f"{len(lines):,} lines of an export to {len(people)} signed twins",
        work=lambda: _made_of_lines(kit, files, folder / "spool"),
        floor=passthrough_lines(lines),
        floor_name=FLOOR,
        count=len(lines),
        unit="lines",
    )


def _exported(people: list[PatientBundle], folder: Path) -> list[bytes]:
    """All that is asked of a server; what several patients share, once."""
    by_type: dict[str, dict[str, bytes]] = defaultdict(dict)
    for person in people:
        for resource in person.resources:
            if resource["resourceType"] in (*ALL, *CARRIED):
                by_type[resource["resourceType"]][resource["id"]] = orjson.dumps(resource)
    folder.mkdir()
    for kind, lines in by_type.items():
        (folder / f"{kind}.ndjson").write_bytes(b"\n".join(lines.values()))
    return [line for lines in by_type.values() for line in lines.values()]


def _made_of_lines(kit: _Kit, files: Path, spools: Path) -> int:
    with opened(files, spools) as found:
        return sum(len(_twin_of(kit, record)) for record in found.records())


def _twin_of(kit: _Kit, record: PatientRecord) -> bytes:
    """As a run makes it."""
    link = _link(record.patient_id)
    record = without_own(record)
    reading = Reading.of(record.resources[0], (link, 0), POLICY, DAY, record.base)
    mapped = reading.facts(record.resources)
    payload = dump(build(mapped, _header(reading.session, link), record.completeness))
    checked = searched(payload, record.resources, allowed(link))
    return _signed(kit, reading.session, link, payload, checked)


def _long_twin(person: PatientBundle, size: int) -> Case:
    """The same path for one record of so many facts: linear, if the ratios of all sizes agree."""
    kit, file = _kit(), bundle(person, size)
    return Case(
        name=f"signed twin of {size:,} facts",
        work=lambda: _twin(kit, file),
        floor=passthrough(file),
        floor_name=FLOOR,
        count=size,
        unit="facts",
        most_rounds=3 if size > LARGE else None,
    )


def _own(people: list[PatientBundle]) -> list[bytes]:
    return [orjson.dumps(person.bundle()) for person in people]


def _bundles(folder: Path) -> list[bytes]:
    """As they are, white space and all; only unpacked."""
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith((".json", ".json.gz"))]
    packed = [path.read_bytes() for path in files]
    return [gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in packed]


def _twin(kit: _Kit, file: bytes) -> bytes:
    record = read_bundle(file)[0]
    link = _link(record.patient_id)
    session, document = _document(kit, link, list(record.resources), record.completeness)
    payload = dump(document)
    checked = gate.check(payload, gate.collect_identifiers(record.resources), allowed(link))
    return _signed(kit, session, link, payload, checked)


def _signed(
    kit: _Kit, session: Session, link: SubjectRecord, payload: bytes, checked: gate.GateResult
) -> bytes:
    assert checked.passed
    head = ledger.append(_Memory(), kit.signer, _entry(session, link, payload, checked))
    proof = kit.signer.sign(payload, {"ledger": f"{head.seq}:{head.digest}"})
    return envelope(payload, {"jws": proof})


def _document(
    kit: _Kit, link: SubjectRecord, resources: list[Json], completeness: Any
) -> tuple[Session, Json]:
    patient = next(r for r in resources if r["resourceType"] == "Patient")
    session = kit.session(patient, link)
    mapped = _mapped(session, Refusals().without(map(session.apply, resources)))
    return session, build(mapped, _header(session, link), completeness)


def _header(session: Session, link: SubjectRecord) -> Header:
    policy = session.policy
    return Header(
        twin=link.twin,
        policy=policy.id,
        policy_version=policy.version,
        policy_digest=policy.digest,
        software="0.1.0",
        now=session.now,
        time_unit=policy.time.unit,
        as_of="record",
    )


@dataclass
class _Memory:
    """A ledger that forgets: the database is not what is measured here."""

    last: ledger.Head = field(default_factory=ledger.Head)

    def head(self) -> ledger.Head:
        return self.last

    def append(self, seq: int, digest: str, line: bytes) -> None:
        self.last = ledger.Head(seq, digest)

    def lines(self) -> Iterator[bytes]:
        return iter(())


def _entry(session: Session, link: SubjectRecord, payload: bytes, checked: gate.GateResult) -> Json:
    return ledger.twin_entry(
        policy=session.policy,
        software="0.1.0",
        twin=link.twin,
        document=payload,
        counts=session.counts,
        refusals=session.refusals,
        gate=checked.as_entry(),
        at=datetime(2026, 6, 1, tzinfo=UTC),
    )


# -- models ----------------------------------------------------------------------------------------


def _assessments(person: PatientBundle) -> list[Case]:
    """One twin through the models a run asks when none is named, and through all there are, with
    intervals and explanations."""
    kit = _kit()
    record = read_bundle(orjson.dumps(person.bundle()))[0]
    link = _link(record.patient_id)
    document = _document(kit, link, list(record.resources), record.completeness)[1]
    return [
        _assessment("the {} models of a run", document, default_models(), None),
        _assessment("all {} models", document, tuple(all_models().values()), Aim(milliseconds=50)),
    ]


def _assessment(name: str, document: Json, models: tuple[Model, ...], aim: Aim | None) -> Case:
    return Case(
        name="assess one twin, " + name.format(len(models)),
        work=lambda: assess(State(document), models),
        floor=passthrough(dump(document)),
        floor_name=FLOOR,
        count=len(models),
        unit="assessments",
        aim=aim,
    )


def _prevent() -> Case:
    """PREVENT base, five outcomes at two horizons, a table of numbers in and out."""
    columns = _columns(np.random.default_rng(20))
    plain = orjson.dumps({name: column.tolist() for name, column in columns.items()})
    return Case(
        name=f"PREVENT base, {ROWS:,} rows x 10 outputs",
        work=_ten_outputs(columns),
        floor=passthrough(plain),
        floor_name=FLOOR,
        count=ROWS,
        unit="rows",
        aim=Aim(per_second=1_000_000),
    )


def _prevent_and_peer() -> Case:
    """The same beside pyprevent's compiled batch functions, on one core and without the data frame
    that its public functions make first. It has three of the five outcomes: some are asked twice.
    """
    columns = _columns(np.random.default_rng(20))
    table = np.ascontiguousarray(np.column_stack([columns[name] for name in PEER_COLUMNS]))
    peer = _pyprevent()
    asked = ("cvd", "ascvd", "hf", "cvd", "ascvd")
    functions = [
        getattr(peer, f"calculate_{horizon}_yr_{outcome}_rust_parallel_np")
        for horizon in (10, 30)
        for outcome in asked
    ]
    return Case(
        name=f"PREVENT base beside pyprevent, {ROWS:,} rows x 10 outputs",
        work=_ten_outputs(columns),
        floor=lambda: [function(table) for function in functions],
        floor_name="pyprevent",
        count=10 * ROWS,
        unit="values",
        aim=Aim(ratio=1 / 3),
    )


def _ten_outputs(columns: dict[str, Any]) -> Callable[[], object]:
    model = get("prevent")
    return lambda: model.predict(columns, variant="base", targets=model.targets())


PEER_COLUMNS = (
    "sex", "age", "total-cholesterol", "hdl-cholesterol", "systolic-bp", "diabetes",
    "smoking-current", "body-mass-index", "egfr-ckdepi-2021", "bp-treatment", "statin",
)  # fmt: skip


def _pyprevent() -> Any:
    """Its compiled module alone: importing the package would ask for pandas."""
    os.environ["RAYON_NUM_THREADS"] = "1"  # read when it is first called
    folder = importlib.util.find_spec("pyprevent")
    assert folder is not None
    assert folder.submodule_search_locations is not None
    [path] = Path(folder.submodule_search_locations[0]).glob("_pyprevent*")
    spec = importlib.util.spec_from_file_location("_pyprevent", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _columns(rng: np.random.Generator) -> dict[str, Any]:
    """Values evenly over the published ranges: every row is answered."""
    drawn = {
        "age": (30, 79),
        "total-cholesterol": (130, 320),
        "hdl-cholesterol": (20, 100),
        "systolic-bp": (90, 200),
        "body-mass-index": (18.5, 39.9),
        "egfr-ckdepi-2021": (15, 140),
    }
    columns: dict[str, Any] = {name: rng.uniform(*bounds, ROWS) for name, bounds in drawn.items()}
    for flag in ("sex", "diabetes", "smoking-current", "bp-treatment", "statin"):
        columns[flag] = rng.integers(0, 2, ROWS).astype(float)
    return columns
