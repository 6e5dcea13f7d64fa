"""Requests, decisions and answers; and erasure. Each step is one transaction with its records."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from privacy import ledger
from privacy.policy import Policy, load_policy
from privacy.render import fhir_id
from privacy.signing import SigningKey
from privacy.vault import SubjectRecord, Vault
from service.auth import Role
from service.auth.principals import Principal
from service.deidentify.batch import FILES
from service.fhir.ladder import Rung, row_key
from service.pipeline.deliver import result_key
from service.reidentify.reasons import REASONS
from service.stores import Database
from service.stores.audit import NOT_ALLOWED, SAME_PERSON, AuditStore
from service.stores.consents import ConsentStore
from service.stores.database import utc_now
from service.stores.disputes import DisputeStore
from service.stores.ledger import SqlLedgerStore
from service.stores.links import LinkStore
from service.stores.outbox import SqlOutboxStore
from service.stores.reidentify import (
    Reidentification,
    ReidentificationState,
    ReidentificationStore,
)
from service.stores.reviews import ReviewStore
from service.stores.twins import TwinStore
from service.stores.vault import SqlVaultStore
from service.stores.watches import WatchStore

LIFE = timedelta(hours=24)


class DeskError(Exception):
    """What cannot be done, as a sentence with the next step. Never says who anybody is."""


@dataclass(frozen=True, slots=True)
class Person:
    """The answer. Has no printable form: it is shown once, to the one who asked."""

    patient: str = field(repr=False)
    base: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure destroyed, and the entry that certifies it."""

    twins: tuple[str, ...]  # nobody's from now on; of files, the ids of their Patient resources
    records: int  # sealed ways back
    results: int  # sealed results of runs
    links: int  # health links that opened until then
    left: int  # ways back to the same person found afterwards: none
    entry: int = 0
    digest: str = ""

    def as_entry(self) -> dict[str, Any]:
        return {
            "twins": list(self.twins),
            "records": self.records,
            "results": self.results,
            "links": self.links,
            "left": self.left,
        }


class Desk:
    """For privacy officers: the console and the command line. Threads share it."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        signer: SigningKey,
        *,
        clock: Callable[[], datetime] = utc_now,
        life: timedelta = LIFE,
    ) -> None:
        self._database, self._vault, self._signer = database, vault, signer
        self._clock, self._life = clock, life
        self._requests = ReidentificationStore(database, clock)
        self._audit = AuditStore(database, clock)
        self._ledger = SqlLedgerStore(database)
        self._rows = SqlVaultStore(database)
        self._twins = TwinStore(database)
        self._outbox = SqlOutboxStore(database)
        self._links = LinkStore(database, clock)
        self._reviews = ReviewStore(database)
        self._consents = ConsentStore(database)
        self._disputes = DisputeStore(database)

    # Re-identification ----------------------------------------------------------------------------

    def ask(self, who: Principal, twin: str, reason: str) -> Reidentification:
        _require_officer(who)
        if reason not in REASONS:
            raise DeskError(f"give a reason, one of: {', '.join(REASONS)}")
        self._require_known(twin)
        with self._ledger.alone():
            made = self._requests.ask(twin=twin, reason=reason, by=who.subject, life=self._life)
            self._record(who, "reidentify-ask", made)
        return made

    def decide(self, who: Principal, request: str, *, approve: bool) -> Reidentification:
        """By another officer than the one who asked."""
        _require_officer(who)
        asked = self._require(request)
        if asked.requested_by == who.subject:
            self._refused(who, asked, "reidentify-decide", SAME_PERSON)
            raise DeskError("somebody else has to decide: you asked for it yourself")
        with self._ledger.alone():
            if not self._requests.decide(request, by=who.subject, approve=approve):
                raise DeskError("it is decided already, or has expired: ask anew")
            self._record(who, "reidentify-approve" if approve else "reidentify-refuse", asked)
        return self._require(request)

    def answer(self, who: Principal, request: str) -> Person:
        """Once, to who asked, while the approval holds."""
        _require_officer(who)
        asked = self._require(request)
        found = next((record for _, record in self._behind(asked.twin)), None)
        with self._ledger.alone():
            allowed = found is not None and self._requests.answer(request, by=who.subject)
            if allowed:
                self._record(who, "reidentify", asked)
        if found is None:
            raise DeskError("the way back was erased: nobody can tell any more who this is")
        if not allowed:
            self._refused(who, asked, "reidentify", NOT_ALLOWED)
            raise DeskError("not approved, expired, answered already, or asked by somebody else")
        return Person(found.patient, found.base)

    def requests(self, limit: int = 100) -> list[Reidentification]:
        """The newest requests; `standing` says of each where it is now."""
        return self._requests.newest(limit)

    def standing(self, asked: Reidentification) -> str:
        """`waiting`, `approved`, `refused`, `answered`; or `expired`, which the clock says."""
        open_states = {ReidentificationState.WAITING, ReidentificationState.APPROVED}
        over = asked.expires <= self._clock()
        return "expired" if over and asked.state in open_states else asked.state.value

    # Erasure --------------------------------------------------------------------------------------

    def erase(self, who: Principal, name: str) -> Erased:
        """Destroy every way back to the person behind a twin, or behind a patient's id in a file.

        The certificate in the ledger names the twins. They stay, and are nobody's any more.
        """
        _require_officer(who)
        person = next((record for _, record in self._behind(name)), None)
        if person is None:
            raise DeskError("there is no way back from this twin: erased already, or never here")
        with self._ledger.alone():
            gone = [(index, record) for index, record in self._all() if _same(record, person)]
            made = self._destroy(gone)
            self._audit.record(
                role=who.role, subject=who.subject, action="erase", outcome="done", object=name
            )
            head = self._certify("erased", name, made.as_entry())
        return replace(made, entry=head.seq, digest=head.digest)

    def _destroy(self, gone: list[tuple[str, SubjectRecord]]) -> Erased:
        """Sealed records, the sealed results of runs, and what was or is to be written back."""
        for index, record in gone:
            self._outbox.forget(self._keys(index, record.twin))
            self._rows.delete(index)
        twins = tuple(sorted(name for _, record in gone for name in _names(record)))
        left = sum(_same(record, gone[0][1]) for _, record in self._all())
        self._reviews.forget(twins)
        self._consents.forget(twins)
        self._disputes.forget(twins)
        WatchStore(self._database).forget(twins)
        return Erased(
            twins,
            records=len(gone),
            results=self._requests.forget(twins),
            links=sum(map(self._links.revoke_all, twins)),
            left=left,
        )

    def _keys(self, index: str, twin: str) -> list[str]:
        """Under which results of a twin were or are to be written to its patient's record."""
        found = set()
        for version in self._twins.versions(twin):
            stored = self._twins.get(twin, version.version)
            document = orjson.loads(stored.payload) if stored else {}
            for assessment in document.get("assessments", ()):
                found |= {row_key(result_key(index, assessment), rung) for rung in Rung}
        return sorted(found)

    # Pieces ---------------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[str, SubjectRecord]]:
        """Every sealed record, opened one at a time: rows are named by patient, not by twin."""
        for index in self._rows.indexes():
            found = self._vault.load_at(index)
            if found is not None:
                yield index, found[0]

    def _behind(self, name: str) -> Iterator[tuple[str, SubjectRecord]]:
        return ((index, record) for index, record in self._all() if _named(record, name))

    def _require(self, request: str) -> Reidentification:
        found = self._requests.get(request)
        if found is None:
            raise DeskError("there is no such request; see `twinport reidentify list`")
        return found

    def _require_known(self, name: str) -> None:
        if next(self._behind(name), None) is not None:
            return
        if self._twins.get(name) is not None:
            raise DeskError("the way back was erased: nobody can tell any more who this is")
        raise DeskError("no such twin is held here, and no file of ours has such a patient")

    def _record(self, who: Principal, action: str, asked: Reidentification) -> None:
        self._audit.record(
            role=who.role,
            subject=who.subject,
            action=action,
            outcome="done",
            object=asked.twin,
            request_id=asked.id,
            policy=self._policy(asked.twin).short,
            purpose=asked.reason,
        )
        self._certify(action, asked.twin, {"request": asked.id, "reason": asked.reason})

    def _refused(self, who: Principal, asked: Reidentification, action: str, why: str) -> None:
        """A try that was not allowed is worth knowing; it changes nothing, so it is no entry."""
        self._audit.record(
            role=who.role,
            subject=who.subject,
            action=action,
            outcome=why,
            object=asked.twin,
            request_id=asked.id,
            policy=self._policy(asked.twin).short,
            purpose=asked.reason,
        )

    def _certify(self, event: str, twin: str, more: dict[str, Any]) -> ledger.Head:
        """Who acted stands in the audit log, which stays here; a ledger is handed out."""
        policy = self._policy(twin)
        entry = {
            "event": event,
            "time": ledger.coarse_time(policy, self._clock()),
            "policy": policy.as_reference(),
            "twin": twin,
            **more,
        }
        return ledger.append(self._ledger, self._signer, entry)

    def _policy(self, name: str) -> Policy:
        """Of a held twin; of a patient in a file, which is told nowhere, the strictest."""
        held = self._twins.get(name)
        return load_policy(held.about.policy if held else "safe-harbor")


def _same(record: SubjectRecord, person: SubjectRecord) -> bool:
    return (record.base, record.patient) == (person.base, person.patient)


def _named(record: SubjectRecord, name: str) -> bool:
    return name in _names(record)


def _names(record: SubjectRecord) -> list[str]:
    """What is handed out of a person: the twin's pseudonym; or the Patient's id in files."""
    if not record.project.endswith(FILES):
        return [record.twin]
    pseudonym = record.ids.as_dict().get(record.patient)
    return [fhir_id(pseudonym)] if pseudonym else []


def _require_officer(who: Principal) -> None:
    if who.role is not Role.PRIVACY_OFFICER:
        raise DeskError("this takes a privacy officer's key: twinport keys api-key")
