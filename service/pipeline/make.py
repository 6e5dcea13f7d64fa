"""From one patient's resources to a signed, kept twin. Read downward: this is the path.

Identified values are local to one call of `Maker.make`; what leaves it is the twin and counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol

import orjson

from mappings.vocabulary.facts import Mapped
from privacy import gate, ledger
from privacy.deidentify import Session
from privacy.errors import ConflictError
from privacy.policy import Policy, load_policy, twin_policy_ids
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.signing import SigningKey, envelope
from privacy.subject import draw_epoch
from privacy.vault import SubjectRecord, Vault
from service.fhir.lined import looked_at
from service.fhir.record import PatientRecord
from service.patient.consent import CARE, Consents, NotConsentedError
from service.pipeline.asof import last_record
from service.pipeline.errors import Blocked, NotConfigured, NotConsented, RunError
from service.pipeline.origin import without_own
from service.pipeline.reading import Ahead, Read, Reading
from service.pipeline.rehearsal import nobody
from service.pipeline.search import searched
from service.risk.rows import traits_of
from service.risk.snapshot import snapshot
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.database import Disk
from service.stores.errors import ConflictError as StoreConflictError
from service.stores.ledger import SqlLedgerStore
from service.stores.risk import RiskStore, Traits
from service.stores.twins import StoredTwin, TwinStore, TwinVersion
from twin_engine.document import (
    Header,
    Twin,
    build,
    dump,
    next_version,
    read,
    read_own,
    with_assessments,
)
from twin_engine.document.octets import digest as digest_of
from twin_engine.document.schema import is_question, schema
from twin_engine.models.assess import Answering, Request, assess_since
from twin_engine.models.carry import Before
from twin_engine.models.contract import Model
from twin_engine.state import State

SOFTWARE = version("twinport")
TRIES = 5  # two runs of one patient at once: the second works on what the first has written

Json = dict[str, Any]
Stage = Callable[[str], None]


class Onlooker(Protocol):
    """Who gets ready for what is being made, and tells nobody of it yet. Both are called again
    where another run of the patient was quicker."""

    def answering(self, model: Model) -> None:
        """This model answers for a twin that is new; the answer is still being put together."""

    def passed(self, made: "Made") -> None:
        """This has passed the gate, and is about to be signed and kept."""


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
    purpose: str = CARE  # what for; the patient must have allowed it
    encounter: str = field(default="", repr=False)  # `Encounter/<id>`, where the caller knows it
    disk: Disk = Disk.AT_ONCE  # by when a new twin is there, with its entry in the ledger


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
    carried: int = 0  # answers that stand since the version before: their models were not asked
    encounter: str = field(default="", repr=False)

    @property
    def file(self) -> bytes:
        """`twin.json`: the document exactly as signed, beside its proof."""
        return envelope(self.stored.payload, {"jws": self.stored.proof.decode()})

    @property
    def assessments(self) -> Sequence[Json]:
        """What may be shown and written back: without what models said in silence."""
        found = self.twin.assessments
        return tuple(dict(item) for item in found if not item.get("silent"))

    @property
    def silent(self) -> frozenset[str]:
        """The models that were asked in silence: recorded in the twin, and nowhere shown."""
        found = self.twin.assessments
        return frozenset(item["model"]["id"] for item in found if item.get("silent"))


class _Done(NamedTuple):
    """What de-identifying did. The session itself remembers the record's dates and references."""

    policy: Policy
    now: int
    counts: Mapping[tuple[str, str, str], int]
    refusals: Mapping[tuple[str, str], int]
    labels: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, session: Session) -> "_Done":
        return cls(session.policy, session.now, session.counts, session.refusals, session.labels)


class _Facts(NamedTuple):
    mapped: Mapped
    completeness: Json
    withdrawn: Mapping[str, str]
    done: _Done

    @classmethod
    def of(cls, read: Read) -> "_Facts":
        record, reading = read.record, read.reading
        if read.mapped.subject is None:
            raise RunError("the Patient resource can't be used; see the refusals", "no-patient")
        completeness = reading.refused.told_in(record.completeness) | {"notRead": record.not_read}
        gone = _gone(record, reading.link)
        return cls(read.mapped, completeness, gone, _Done.of(reading.session))


Context = tuple[PatientRecord, _Done, SubjectRecord, date, str]


class _Draft(NamedTuple):
    """A document as it is to be signed, and what is needed of it beside its bytes."""

    payload: bytes
    version: int
    parent: str | None
    traits: Traits
    questions: frozenset[str]

    @classmethod
    def of(cls, document: Json) -> "_Draft":
        heading, questions = document["twin"], _questions(document)
        return cls(
            dump(document), heading["version"], heading["parent"], traits_of(document), questions
        )

    def about(self, pseudonym: str, policy: str, at: datetime) -> TwinVersion:
        digest = digest_of(self.payload)
        return TwinVersion(pseudonym, self.version, self.parent, digest, policy, at)


class Maker:
    """Makes twins of one project. Holds no patient; threads share it."""

    def __init__(
        self,
        *,
        project: str,
        database: Database,
        vault: Vault,
        signer: SigningKey,
        consents: Consents,
    ) -> None:
        self._project = project
        self._vault = vault
        self._signer = signer
        self._consents = consents
        self._twins = TwinStore(database)
        self._ledger = SqlLedgerStore(database)
        self._risk = RiskStore(database)
        self._audit = AuditStore(database)

    def ahead(self, base: str, wish: Wish) -> Ahead:
        """For a record that is still to come from this server, read while it arrives."""

        def begin(patient: Json) -> Reading | None:
            who = f"Patient/{patient['id']}"
            if wish.as_of == "record" or not self._consents.allows(base, who, wish.purpose):
                return None
            return self._reading(patient, base, wish.policy, _day((), wish))

        return Ahead(base, begin)

    def make(
        self,
        record: PatientRecord,
        wish: Wish,
        stage: Stage = silent,
        ahead: Ahead | None = None,
        onlooker: Onlooker | None = None,
    ) -> Made:
        """Raises `Blocked` where the gate finds identity, `RunError` where there is no patient or
        the patient has not allowed the purpose. `ahead`: what has read the record as it came."""
        person = self._allowed(record, wish.purpose)
        for _ in range(TRIES):
            try:
                return self._make(record, wish, person, stage, ahead, onlooker)
            except (ConflictError, StoreConflictError):
                continue
        raise RunError("another run of the same patient is in the way; try again", "busy")

    def rehearse(self, wish: Wish) -> Sequence[Mapping[str, Any]]:
        """The computing part of a run of nobody, of which nothing is kept; what the models said."""
        day = datetime.now(UTC).date()
        record = nobody(day.isoformat())
        link = self._fresh(wish.policy, record.base, "Patient/nobody", day)
        reading = Reading.of(record.resources[0], (link, 0), wish.policy, day, record.base)
        facts = _Facts.of(Read(record, reading, reading.facts(record.resources)))
        header = self._header(link, facts.done, wish)
        draft = _Draft.of(self._document(facts, header, None, wish.models, silent)[0])
        searched(draft.payload, record.resources, allowed(link, draft.questions))
        return read(draft.payload).assessments

    def _allowed(self, record: PatientRecord, purpose: str) -> str:
        try:
            return self._consents.require(record.base, f"Patient/{record.patient_id}", purpose)
        except NotConsentedError as error:
            raise NotConsented(str(error)) from None

    def _make(
        self,
        record: PatientRecord,
        wish: Wish,
        person: str,
        stage: Stage,
        ahead: Ahead | None,
        onlooker: Onlooker | None,
    ) -> Made:
        found = self._read(record, wish, stage, ahead)
        record, reading, identifying = found.record, found.reading, found.identifying
        link, expected, facts = reading.link, reading.expected, _Facts.of(found)
        del found
        parent, done = self._parent(link.twin, expected), facts.done
        header = self._header(link, done, wish)
        answering = onlooker.answering if onlooker is not None and parent is None else None
        document, carried = self._document(facts, header, parent, wish.models, stage, answering)
        del facts  # here and below: of a long record it is large, and all in the document
        context = (record, done, link, reading.day, wish.encounter)
        if parent is not None and _says_the_same(parent[0].document, document):
            self._vault.save(link, expected)
            self._consents.know(person, link.twin)
            return _made(*parent, False, context, carried)
        stage("gate")
        draft = _Draft.of(document)
        del document  # it is all in the bytes
        checked = self._gate(record, draft, link, done, identifying)
        about = draft.about(link.twin, done.policy.id, datetime.now(UTC))
        unsigned = StoredTwin(about, draft.payload, b"")
        made = _made(read_own(draft.payload), unsigned, True, context, carried)
        if onlooker is not None:
            onlooker.passed(made)
        stage("sign")
        proof = self._keep(link, expected, draft, done, checked, wish, person, about)
        return replace(made, stored=replace(unsigned, proof=proof))

    # -- steps ---------------------------------------------------------------------------------

    def _read(self, record: PatientRecord, wish: Wish, stage: Stage, ahead: Ahead | None) -> Read:
        """What has been read as it came, where that is sound; else all of it, now."""
        stage("de-identify")
        found = ahead and ahead.read_of(record)
        stage("map")  # in the same pass, record by record: none is held
        if found and found.reading.day == _day((), wish):
            return found
        foreign = without_own(record)
        day = _day(foreign.resources, wish)
        reading = self._reading(_patient(foreign), record.base, wish.policy, day, record.series)
        return Read(foreign, reading, reading.facts(foreign.resources))

    def _reading(
        self,
        patient: Json,
        base: str,
        policy: str,
        day: date,
        series: Mapping[str, list[Json]] | None = None,
    ) -> Reading:
        load_policy(policy).require_twins()
        found = self._link(base, f"Patient/{patient['id']}", policy, day)
        return Reading.of(patient, found, policy, day, base, series)

    def _link(self, base: str, reference: str, policy: str, day: date) -> tuple[SubjectRecord, int]:
        """The patient's sealed record. Each policy has its own: two twins of one person under
        two policies, put together, would tell more than either policy allows."""
        found = self._vault.load(f"{self._project}/{policy}", base, reference)
        return (self._fresh(policy, base, reference, day), 0) if found is None else found

    def _fresh(self, policy: str, base: str, reference: str, day: date) -> SubjectRecord:
        return SubjectRecord(
            project=f"{self._project}/{policy}",
            base=base,
            patient=reference,
            twin=new_pseudonym(),
            epoch=draw_epoch(day),
            ids=Pseudonyms(),
            identity={},
        )

    def _document(
        self,
        facts: "_Facts",
        header: Header,
        parent: tuple[Twin, StoredTwin] | None,
        models: Sequence[Request],
        stage: Stage,
        answering: Answering | None = None,
    ) -> tuple[Json, int]:
        """The document, and how many of its answers stand since the version before."""
        stage("build")
        document = _built(facts, header, parent)
        stage("predict")
        before = None if parent is None else Before(parent[0].document)
        found = assess_since(State(document), models, before, answering)
        return with_assessments(document, found.assessments), found.carried

    def _parent(self, pseudonym: str, expected: int) -> tuple[Twin, StoredTwin] | None:
        """None also without a look where the pseudonym has just been drawn."""
        stored = self._twins.get(pseudonym) if expected else None
        return None if stored is None else (read(stored.payload), stored)

    def _header(self, link: SubjectRecord, done: _Done, wish: Wish) -> Header:
        policy = done.policy
        return Header(
            twin=link.twin,
            policy=policy.id,
            policy_version=policy.version,
            policy_digest=policy.digest,
            software=SOFTWARE,
            now=done.now,
            time_unit=policy.time.unit,
            as_of=wish.as_of,
        )

    def _gate(
        self,
        record: PatientRecord,
        draft: "_Draft",
        link: SubjectRecord,
        done: _Done,
        identifying: gate.Growing | None,
    ) -> gate.GateResult:
        """The independent search. A hit is written to the ledger, then stops the run."""
        result = searched(
            draft.payload,
            record.resources,
            allowed(link, draft.questions),
            series=record.series,
            collected=identifying,
        )
        if not result.passed:
            with self._ledger.alone():
                ledger.append(self._ledger, self._signer, _blocked(link, done, result))
            raise Blocked([f"{hit.path}: {hit.rule}" for hit in result.hits])
        return result

    def _keep(
        self,
        link: SubjectRecord,
        expected: int,
        draft: "_Draft",
        done: _Done,
        checked: gate.GateResult,
        wish: Wish,
        person: str,
        about: TwinVersion,
    ) -> bytes:
        """Risk, ledger, signature, twin, vault, consent and audit in one transaction."""
        policy = done.policy
        with self._ledger.alone(wish.disk):
            self._risk.keep(link.twin, policy.id, draft.traits)
            entry = ledger.twin_entry(
                policy=policy,
                software=SOFTWARE,
                twin=link.twin,
                document=draft.payload,
                counts=done.counts,
                refusals=done.refusals,
                gate=checked.as_entry(),
                at=datetime.now(UTC),
                risk=snapshot(self._risk, link.twin, policy.id),
                extra=ledger.obligations(done.labels),
            )
            head = ledger.append(self._ledger, self._signer, entry)
            proof = self._signer.sign(draft.payload, {"ledger": f"{head.seq}:{head.digest}"})
            self._twins.keep(about, draft.payload, proof.encode())
            self._vault.save(link, expected)
            self._consents.know(person, link.twin)
            self._audit.record(
                role="system",
                subject="twinport",
                action="deidentify",
                outcome="done",
                object=link.twin,
                request_id=wish.request,
                policy=policy.short,
            )
        return proof.encode()


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


def allowed(link: SubjectRecord, questions: frozenset[str] = frozenset()) -> frozenset[str]:
    """What the gate need not judge: the document's vocabulary, policies, this twin's pseudonyms.

    Codes are not among them: one that equals an identifying value of the source is a hit.
    """
    return _ours().union(questions, (link.twin,), link.ids.given())


def told_in(payload: bytes) -> frozenset[str]:
    """The same of a document whose ways back are not at hand, by what it says of itself."""
    document = orjson.loads(payload)
    names = {name for row in document["sources"] for name in row["ids"]}
    heading = document["twin"]
    return _ours().union(_questions(document), (heading["id"], heading["policy"]["digest"]), names)


def _questions(document: Json) -> frozenset[str]:
    """How the record was asked for, where that is told in the document's own words alone."""
    slices = document["completeness"]["slices"]
    return frozenset(text for one in slices for text in one.get("asked", ()) if is_question(text))


@cache
def _ours() -> frozenset[str]:
    """Our own words, and the digests of the policies that come with us: older than any record, the
    same for everybody."""
    return _own_words().union(load_policy(policy_id).digest for policy_id in twin_policy_ids())


def _blocked(link: SubjectRecord, done: _Done, result: gate.GateResult) -> Json:
    return {
        "event": "twin-blocked",
        "time": ledger.coarse_time(done.policy, datetime.now(UTC)),
        "policy": done.policy.as_reference(),
        "software": SOFTWARE,
        "twin": link.twin,
        "gate": result.as_entry(),
    }


def _patient(record: PatientRecord) -> Json:
    for resource in record.resources:
        if resource.get("resourceType") == "Patient" and resource.get("id") == record.patient_id:
            return resource
    raise RunError("the record holds no Patient resource of this person", "no-patient")


def _day(resources: Sequence[Json], wish: Wish) -> date:
    today = datetime.now(UTC).date()
    if wish.as_of == "run":
        return today
    if wish.as_of == "record":
        return last_record(looked_at(resources), today)
    if wish.day is None or wish.day > today:
        raise NotConfigured("give the as-of day as YYYY-MM-DD, today or earlier", "bad-as-of")
    return wish.day


def _built(facts: _Facts, header: Header, parent: tuple[Twin, StoredTwin] | None) -> Json:
    if parent is None:
        return build(facts.mapped, header, facts.completeness)
    return next_version(parent[0], facts.mapped, header, facts.completeness, facts.withdrawn)


def _gone(record: PatientRecord, link: SubjectRecord) -> dict[str, str]:
    """By pseudonym: what the source says was withdrawn or deleted, of all this twin ever rested
    on."""
    ids = link.ids.as_dict() if record.deleted or record.withdrawn else {}
    gone = {name: record.withdrawn[o] for o, name in ids.items() if o in record.withdrawn}
    deleted = {name: "deleted" for original, name in ids.items() if original in record.deleted}
    return gone | deleted


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


def _made(twin: Twin, stored: StoredTwin, new: bool, context: Context, carried: int) -> Made:
    record, done, link, day, encounter = context
    return Made(
        twin=twin,
        stored=stored,
        new=new,
        counts=dict(done.counts),
        refusals=dict(done.refusals),
        safety=tuple((event.kind, event.type, event.count) for event in record.safety),
        link=link,
        day=day,
        carried=carried,
        encounter=encounter,
    )
