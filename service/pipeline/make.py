"""From one patient's resources to a signed, kept twin. Read downward: this is the path.

Identified values are local to one call of `Maker.make`; what leaves it is the twin and counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from mappings.from_fhir import map_records
from privacy import gate, ledger
from privacy.deidentify import Deidentifier, Refused, Session
from privacy.errors import ConflictError
from privacy.policy import load_policy, twin_policy_ids
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.signing import SigningKey, envelope
from privacy.subject import SubjectContext, draw_epoch
from privacy.vault import SubjectRecord, Vault
from service.fhir.record import PatientRecord
from service.pipeline.asof import last_record
from service.pipeline.errors import Blocked, NotConfigured, RunError
from service.pipeline.guards import deidentifier_of
from service.pipeline.origin import without_own
from service.risk.rows import traits_of
from service.risk.snapshot import snapshot
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.errors import ConflictError as StoreConflictError
from service.stores.ledger import SqlLedgerStore
from service.stores.risk import RiskStore
from service.stores.twins import StoredTwin, TwinStore
from twin_engine.document import Header, Twin, build, dump, next_version, read, with_assessments
from twin_engine.document.octets import digest as digest_of
from twin_engine.document.schema import schema
from twin_engine.models.assess import Request, assess
from twin_engine.state import UNITS_PER_DAY, State

SOFTWARE = version("twinport")
TRIES = 5  # two runs of one patient at once: the second works on what the first has written

Json = dict[str, Any]
Context = tuple[PatientRecord, Session, SubjectRecord, date]
Stage = Callable[[str], None]


def silent(stage: str) -> None:
    """Nobody watches the stages."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be made of a record."""

    policy: str
    models: tuple[Request, ...]
    as_of: str  # "run", "record" or "stated"
    day: date | None = None  # for "stated"
    request: str | None = None  # under which the audit log says who asked


@dataclass(frozen=True, slots=True)
class Made:
    """A twin, new or unchanged, and what making it did. `link` leads back and stays inside."""

    twin: Twin
    stored: StoredTwin
    new: bool
    counts: dict[tuple[str, str, str], int]
    refusals: dict[tuple[str, str], int]
    safety: tuple[tuple[str, str, int], ...]
    link: SubjectRecord = field(repr=False)
    day: date = field(repr=False)

    @property
    def file(self) -> bytes:
        """`twin.json`: the document exactly as signed, beside its proof."""
        return envelope(self.stored.payload, {"jws": self.stored.proof.decode()})

    @property
    def assessments(self) -> Sequence[Json]:
        return tuple(dict(item) for item in self.twin.assessments)


class Maker:
    """Makes twins of one project. Holds no patient; threads share it."""

    def __init__(
        self, *, project: str, database: Database, vault: Vault, signer: SigningKey
    ) -> None:
        self._project = project
        self._database = database
        self._vault = vault
        self._signer = signer
        self._twins = TwinStore(database)
        self._ledger = SqlLedgerStore(database)
        self._risk = RiskStore(database)
        self._audit = AuditStore(database)

    def make(self, record: PatientRecord, wish: Wish, stage: Stage = silent) -> Made:
        """Raises `Blocked` where the gate finds identity, `RunError` where there is no patient."""
        foreign = without_own(record)
        for _ in range(TRIES):
            try:
                return self._make(foreign, wish, stage)
            except (ConflictError, StoreConflictError):
                continue
        raise RunError("another run of the same patient is in the way; try again", "busy")

    def _make(self, record: PatientRecord, wish: Wish, stage: Stage) -> Made:
        patient = _patient(record)
        day = _day(record, wish)
        link, expected = self._link(record, wish.policy, day)
        stage("de-identify")
        session, records = self._deidentify(record, patient, link, wish.policy, day)
        stage("map")
        mapped = map_records(records, session.now, UNITS_PER_DAY[session.policy.time.unit])
        if mapped.subject is None:
            raise RunError("the Patient resource can't be used; see the refusals", "no-patient")
        stage("build")
        parent = self._parent(link.twin)
        header = self._header(link, session, wish)
        document = _document(mapped, header, record, parent, _deleted(record, link))
        stage("predict")
        document = with_assessments(document, assess(State(document), wish.models))
        context = (record, session, link, day)
        if parent is not None and _says_the_same(parent[0].document, document):
            self._vault.save(link, expected)
            return _made(*parent, False, context)
        stage("gate")
        payload = dump(document)
        checked = self._gate(record, payload, link, session)
        stage("sign")
        stored = self._keep(link, expected, payload, document, session, checked, wish.request)
        return _made(read(payload), stored, True, context)

    # -- steps ---------------------------------------------------------------------------------

    def _link(self, record: PatientRecord, policy: str, day: date) -> tuple[SubjectRecord, int]:
        """The patient's sealed record. Each policy has its own: two twins of one person under
        two policies, put together, would tell more than either policy allows."""
        project = f"{self._project}/{policy}"
        reference = f"Patient/{record.patient_id}"
        found = self._vault.load(project, record.base, reference)
        if found is not None:
            return found
        fresh = SubjectRecord(
            project=project,
            base=record.base,
            patient=reference,
            twin=new_pseudonym(),
            epoch=draw_epoch(day),
            ids=Pseudonyms(),
            identity={},
        )
        return fresh, 0

    def _deidentify(
        self, record: PatientRecord, patient: Json, link: SubjectRecord, policy: str, day: date
    ) -> tuple[Session, list[Json]]:
        subject = SubjectContext.of(
            patient, epoch=link.epoch, now=day, pseudonym=link.ids, bases=(record.base,)
        )
        session = self.deidentifier(policy).session(subject)
        found = (session.apply(resource) for resource in record.resources)
        return session, [item for item in found if not isinstance(item, Refused)]

    def deidentifier(self, policy_id: str) -> Deidentifier:
        load_policy(policy_id).require_twins()
        return deidentifier_of(policy_id)

    def _parent(self, pseudonym: str) -> tuple[Twin, StoredTwin] | None:
        stored = self._twins.get(pseudonym)
        return None if stored is None else (read(stored.payload), stored)

    def _header(self, link: SubjectRecord, session: Session, wish: Wish) -> Header:
        policy = session.policy
        return Header(
            twin=link.twin,
            policy=policy.id,
            policy_version=policy.version,
            policy_digest=policy.digest,
            software=SOFTWARE,
            now=session.now,
            time_unit=policy.time.unit,
            as_of=wish.as_of,
        )

    def _gate(
        self, record: PatientRecord, payload: bytes, link: SubjectRecord, session: Session
    ) -> gate.GateResult:
        """The independent search. A hit is written to the ledger, then stops the run."""
        values = gate.collect_identifiers(record.resources)
        result = gate.check(payload, values, allowed(link))
        if not result.passed:
            with self._database.write():
                ledger.append(self._ledger, self._signer, _blocked(link, session, result))
            raise Blocked([f"{hit.path}: {hit.rule}" for hit in result.hits])
        return result

    def _keep(
        self,
        link: SubjectRecord,
        expected: int,
        payload: bytes,
        document: Json,
        session: Session,
        checked: gate.GateResult,
        request: str | None,
    ) -> StoredTwin:
        """Risk, ledger, signature, twin, vault and audit in one transaction: all, or none."""
        policy = session.policy
        with self._database.write():
            self._risk.keep(link.twin, policy.id, traits_of(document))
            entry = ledger.twin_entry(
                policy=policy,
                software=SOFTWARE,
                twin=link.twin,
                document=payload,
                counts=session.counts,
                refusals=session.refusals,
                gate=checked.as_entry(),
                at=datetime.now(UTC),
                risk=snapshot(self._risk, link.twin, policy.id),
                extra=ledger.obligations(session.labels),
            )
            head = ledger.append(self._ledger, self._signer, entry)
            proof = self._signer.sign(payload, {"ledger": f"{head.seq}:{head.digest}"})
            about = self._twins.add(
                pseudonym=link.twin,
                version=document["twin"]["version"],
                parent=document["twin"]["parent"],
                digest=digest_of(payload),
                payload=payload,
                proof=proof.encode(),
                policy=policy.id,
            )
            self._vault.save(link, expected)
            self._audit.record(
                role="system",
                subject="twinport",
                action="deidentify",
                outcome="done",
                object=link.twin,
                request_id=request,
                policy=policy.short,
            )
        return StoredTwin(about, payload, proof.encode())


# -- pieces without state --------------------------------------------------------------------------


@cache
def _own_words() -> frozenset[str]:
    """Every name and word that the document's closed schema can hold."""
    found: set[str] = set()
    stack: list[Any] = [schema()]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            found |= {str(word) for word in node.get("enum", ())} | {str(node.get("const", ""))}
            found |= node.get("properties", {}).keys()
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return frozenset(found)


def allowed(link: SubjectRecord) -> frozenset[str]:
    """What the gate need not judge: the document's vocabulary, policies, this twin's pseudonyms.

    Codes are not among them: one that equals an identifying value of the source is a hit.
    """
    return _own_words() | _policy_digests() | {link.twin, *link.ids.as_dict().values()}


@cache
def _policy_digests() -> frozenset[str]:
    """Those of the policies that come with us: older than any record, the same for everybody."""
    return frozenset(load_policy(policy_id).digest for policy_id in twin_policy_ids())


def _blocked(link: SubjectRecord, session: Session, result: gate.GateResult) -> Json:
    return {
        "event": "twin-blocked",
        "time": ledger.coarse_time(session.policy, datetime.now(UTC)),
        "policy": session.policy.as_reference(),
        "software": SOFTWARE,
        "twin": link.twin,
        "gate": result.as_entry(),
    }


def _patient(record: PatientRecord) -> Json:
    for resource in record.resources:
        if resource.get("resourceType") == "Patient" and resource.get("id") == record.patient_id:
            return resource
    raise RunError("the record holds no Patient resource of this person", "no-patient")


def _day(record: PatientRecord, wish: Wish) -> date:
    today = datetime.now(UTC).date()
    if wish.as_of == "run":
        return today
    if wish.as_of == "record":
        return last_record(record.resources, today)
    if wish.day is None or wish.day > today:
        raise NotConfigured("give the as-of day as YYYY-MM-DD, today or earlier", "bad-as-of")
    return wish.day


def _document(
    mapped: Any,
    header: Header,
    record: PatientRecord,
    parent: tuple[Twin, StoredTwin] | None,
    withdrawn: Mapping[str, str],
) -> Json:
    if parent is None:
        return build(mapped, header, record.completeness)
    return next_version(parent[0], mapped, header, record.completeness, withdrawn)


def _deleted(record: PatientRecord, link: SubjectRecord) -> dict[str, str]:
    """By pseudonym: what the source says was deleted, of all this twin ever rested on."""
    ids = link.ids.as_dict() if record.deleted else {}
    return {name: "deleted" for original, name in ids.items() if original in record.deleted}


def _says_the_same(before: Any, after: Any) -> bool:
    """Whether a new version would tell a reader nothing new: the same facts, the same answers.

    `now` moves every day and page counts vary with the server's mood; neither makes a version.
    """
    return _content(before) == _content(after)


def _content(document: Any) -> Json:
    kept = {k: v for k, v in document.items() if k not in {"twin", "completeness", "changes"}}
    kept["policy"] = document["twin"]["policy"]
    kept["software"] = document["twin"]["software"]
    kept["verdicts"] = {s["type"]: s["verdict"] for s in document["completeness"]["slices"]}
    kept["assessments"] = [
        {k: v for k, v in item.items() if k not in {"at", "results"}}
        | {"values": [(r["outcome"], r.get("horizonYears"), r["value"]) for r in item["results"]]}
        for item in document["assessments"]
    ]
    return kept


def _made(twin: Twin, stored: StoredTwin, new: bool, context: Context) -> Made:
    record, session, link, day = context
    return Made(
        twin=twin,
        stored=stored,
        new=new,
        counts=dict(session.counts),
        refusals=dict(session.refusals),
        safety=tuple((event.kind, event.type, event.count) for event in record.safety),
        link=link,
        day=day,
    )
