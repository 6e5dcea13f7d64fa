"""One run over any number of patients: their sessions, their pseudonyms, and what was done."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Self

import orjson

from mappings import vocabulary
from privacy import ledger
from privacy.deidentify import Count, Refused, Session
from privacy.elements import BASES, elements_of
from privacy.gate import Searcher
from privacy.policy import Policy
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.render import Renderer, fhir_id, of_fhir_id
from privacy.subject import SubjectContext, draw_epoch
from privacy.vault import SubjectRecord, Vault
from service.deidentify.people import People, owner_of
from service.deidentify.withheld import Withheld
from service.fhir.references import levels
from service.pipeline.guards import deidentifier_of

Resource = dict[str, Any]

SOFTWARE = version("twinport")
FILES = "/files"  # ends the project of sealed records that belong to files, not to twins
NOBODY = ""  # owns what names no patient
OPEN = 512  # patients whose sessions are held; the one not needed for longest is sealed away
# Resources that several patients may share: one pseudonym in the whole batch.
SHARED = frozenset({"Medication", "Endpoint", "Device"})


@dataclass(slots=True)
class Tally:
    """What was done to how many resources. No value."""

    read: int = 0
    written: Counter[str] = field(default_factory=Counter)
    counts: Counter[Count] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    people: list[str] = field(default_factory=list)  # ids of their Patient resources in the output

    @property
    def patients(self) -> int:
        return len(self.people)

    def take(self, session: Session) -> None:
        self.counts += session.counts
        self.refusals += session.refusals
        self.labels += session.labels

    def as_report(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "written": dict(sorted(self.written.items())),
            "patients": self.patients,
            "refusals": [
                {"type": kind, "reason": reason, "n": n}
                for (kind, reason), n in sorted(self.refusals.items())
            ],
            "counts": [
                {"type": kind, "path": path, "action": action, "n": n}
                for (kind, path, action), n in sorted(self.counts.items())
            ],
        }


@dataclass(slots=True, repr=False)
class _Open:
    """A patient at work."""

    session: Session
    record: SubjectRecord
    known: int | None  # pseudonyms sealed already: with no new one there is nothing to save
    search: Searcher
    given: set[str]  # pseudonyms that may stand in what this session made


class Batch:
    """De-identifies resource by resource. For one thread.

    Nothing of it is in the vault before `close`, which belongs into the transaction of the entry:
    then all of it is.
    """

    def __init__(
        self,
        policy: Policy,
        vault: Vault,
        people: People,
        *,
        project: str,
        today: date,
        keep_open: int = OPEN,
    ) -> None:
        self.policy, self.tally = policy, Tally()
        self._deidentifier = deidentifier_of(policy.id)
        self._sealed, self._people, self._today = Withheld(vault), people, today
        self._project = f"{project}/{policy.id}{FILES}"
        self._shared, self._keep_open = Pseudonyms(), keep_open
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._people_seen: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sealed.close()

    def apply(self, resource: Any) -> tuple[str, Resource] | None:
        """The pseudonym of a resource and its de-identified form; None when it was refused."""
        self.tally.read += 1
        identity = owner_of(resource) if type(resource) is dict else None
        work = self._work(identity or NOBODY)
        record = work.session.apply(resource)
        if isinstance(record, Refused):
            return None
        if "id" not in record:
            self.tally.refusals[(record["resourceType"], "no-id")] += 1
            return None
        made = Renderer(work.session).resource(record)
        if self._identity_in(orjson.dumps(made), work):
            self.tally.refusals[(record["resourceType"], "identity-found")] += 1
            return None
        self.tally.written[made["resourceType"]] += 1
        return record["id"], made

    def _identity_in(self, data: bytes, work: _Open) -> bool:
        """A random id may spell a short name, "ada": the second look leaves out our own ids."""
        if not work.search.hits(data):
            return False
        return bool(work.search.hits(data, _own_ids(orjson.loads(data), work.given)))

    def close(self) -> Tally:
        while self._open:
            self._put_away()
        self._sealed.release()
        return self.tally

    # Sessions -------------------------------------------------------------------------------------

    def _work(self, identity: str) -> _Open:
        found = self._open.get(identity)
        if found is not None:
            self._open.move_to_end(identity)
            return found
        if len(self._open) >= self._keep_open:
            self._put_away()
        self._open[identity] = self._begin(identity)
        return self._open[identity]

    def _begin(self, identity: str) -> _Open:
        person = self._people.get(identity)
        reference = f"Patient/{identity}"
        found = self._sealed.load(self._project, person.base, reference)
        record = found or self._fresh(person.base, reference)
        given: set[str] = set()
        subject = SubjectContext.of(
            person.patient,
            epoch=record.epoch,
            now=self._today,
            pseudonym=self._pseudonym(record.ids, given),
        )
        session = self._deidentifier.session(subject)
        search = Searcher(person.values, fhir_words())
        known = None if found is None else len(found.ids)
        return _Open(session, record, known, search, given)

    def _fresh(self, base: str, patient: str) -> SubjectRecord:
        return SubjectRecord(
            project=self._project,
            base=base,
            patient=patient,
            twin=new_pseudonym(),
            epoch=draw_epoch(self._today),
            ids=Pseudonyms(),
            identity={},
        )

    def _pseudonym(self, own: Pseudonyms, given: set[str]) -> Callable[[str, str], str]:
        shared = self._shared

        def pseudonym(kind: str, identity: str) -> str:
            found = (shared if kind in SHARED else own)(kind, identity)
            given.add(found)
            return found

        return pseudonym

    def _put_away(self) -> None:
        """Sealed: the next resource of this patient finds the same pseudonyms there. What is
        nobody's leads back to nobody."""
        identity, work = self._open.popitem(last=False)
        self.tally.take(work.session)
        if identity == NOBODY:
            return
        if identity not in self._people_seen:
            self._people_seen.add(identity)
            self.tally.people.append(fhir_id(work.record.ids("Patient", identity)))
        if work.known is None or len(work.record.ids) > work.known:
            self._sealed.save(work.record)

    # The record of what was done ------------------------------------------------------------------

    def entry(self, outputs: list[dict[str, Any]]) -> ledger.LedgerEntry:
        """For the ledger, once closed: one entry for the batch, bound to the bytes written."""
        report = self.tally.as_report()
        return {
            "event": "files-deidentified",
            "time": ledger.coarse_time(self.policy, datetime.now(UTC)),
            "policy": self.policy.as_reference(),
            "software": SOFTWARE,
            "batch": self._people.batch,
            "outputs": outputs,
            **report,
            **ledger.obligations(self.tally.labels),
        }


def _own_ids(node: Any, given: set[str]) -> set[str]:
    """The ids and references in a rendered resource that we gave out."""
    found: set[str] = set()
    for objects in levels(node):
        for text in (held.get(key) for held in objects for key in ("id", "reference")):
            if type(text) is str and of_fhir_id(text.rpartition("/")[2]) in given:
                found.add(text)
    return found


@cache
def fhir_words() -> frozenset[str]:
    """Names and closed codes of R4, and spellings of units: what a person may be called without
    being recognised by it."""
    found: set[str] = {"Bundle", "resourceType", *vocabulary.unit_spellings()}
    for owner in BASES:
        for key, element in elements_of(owner).items():
            found |= {owner, key, "_" + key, element.type} | element.codes
    return frozenset(found)
