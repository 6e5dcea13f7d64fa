"""Requests, decisions and answers; and erasure. Each step is one transaction with its records."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from privacy import ledger
from privacy.policy import load_policy
from privacy.signing import SigningKey
from privacy.vault import SubjectRecord, Vault
from service.auth import Role
from service.auth.principals import Principal
from service.reidentify.reasons import REASONS
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.database import utc_now
from service.stores.ledger import SqlLedgerStore
from service.stores.reidentify import Reidentification, ReidentificationStore
from service.stores.twins import TwinStore
from service.stores.vault import SqlVaultStore

LIFE = timedelta(hours=24)


class DeskError(Exception):
    """What cannot be done, as a sentence with the next step. Never says who anybody is."""


@dataclass(frozen=True, slots=True)
class Person:
    """The answer. Has no printable form: it is shown once, to the one who asked."""

    patient: str = field(repr=False)
    base: str = field(repr=False)


class Desk:
    """For privacy officers. Threads share it."""

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

    # Re-identification ----------------------------------------------------------------------------

    def ask(self, who: Principal, twin: str, reason: str) -> Reidentification:
        _require_officer(who)
        if reason not in REASONS:
            raise DeskError(f"give a reason, one of: {', '.join(REASONS)}")
        self._require_held(twin)
        with self._database.write():
            made = self._requests.ask(twin=twin, reason=reason, by=who.subject, life=self._life)
            self._record(who, "reidentify-ask", made)
        return made

    def decide(self, who: Principal, request: str, *, approve: bool) -> Reidentification:
        """By another officer than the one who asked."""
        _require_officer(who)
        asked = self._require(request)
        if asked.requested_by == who.subject:
            self._refused(who, asked, "reidentify-decide", "same-person")
            raise DeskError("somebody else has to decide: you asked for it yourself")
        with self._database.write():
            if not self._requests.decide(request, by=who.subject, approve=approve):
                raise DeskError("it is decided already, or has expired: ask anew")
            self._record(who, "reidentify-approve" if approve else "reidentify-refuse", asked)
        return self._require(request)

    def answer(self, who: Principal, request: str) -> Person:
        """Once, to who asked, while the approval holds."""
        _require_officer(who)
        asked = self._require(request)
        with self._database.write():
            if not self._requests.answer(request, by=who.subject):
                allowed = False
            else:
                allowed = True
                self._record(who, "reidentify", asked)
        if not allowed:
            self._refused(who, asked, "reidentify", "not-allowed")
            raise DeskError("not approved, expired, answered already, or asked by somebody else")
        found = next((record for _, record in self._of_twin(asked.twin)), None)
        if found is None:
            raise DeskError("the way back was erased: nobody can tell any more who this is")
        return Person(found.patient, found.base)

    def requests(self, limit: int = 100) -> list[Reidentification]:
        return self._requests.newest(limit)

    # Erasure --------------------------------------------------------------------------------------

    def erase(self, who: Principal, twin: str) -> list[str]:
        """Destroy every way back to the person behind a twin; all the pseudonyms that led there.

        The certificate in the ledger names them. The twins stay, and are nobody's any more.
        """
        _require_officer(who)
        person = next((record for _, record in self._of_twin(twin)), None)
        if person is None:
            raise DeskError("there is no way back from this twin: erased already, or never here")
        with self._database.write():
            gone = []
            for index, record in self._all():
                if (record.base, record.patient) == (person.base, person.patient):
                    self._rows.delete(index)
                    gone.append(record.twin)
            self._audit.record(
                role=who.role, subject=who.subject, action="erase", outcome="done", object=twin
            )
            results = self._requests.forget(gone)
            self._certify("erased", twin, {"twins": sorted(gone), "results": results})
        return sorted(gone)

    # Pieces ---------------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[str, SubjectRecord]]:
        """Every sealed record, opened one at a time: rows are named by patient, not by twin."""
        for index in self._rows.indexes():
            found = self._vault.load_at(index)
            if found is not None:
                yield index, found[0]

    def _of_twin(self, twin: str) -> Iterator[tuple[str, SubjectRecord]]:
        return ((index, record) for index, record in self._all() if record.twin == twin)

    def _require(self, request: str) -> Reidentification:
        found = self._requests.get(request)
        if found is None:
            raise DeskError("there is no such request; see `twinport reidentify list`")
        return found

    def _require_held(self, twin: str) -> None:
        if self._twins.get(twin) is None:
            raise DeskError("no such twin is held here")

    def _record(self, who: Principal, action: str, asked: Reidentification) -> None:
        self._audit.record(
            role=who.role,
            subject=who.subject,
            action=action,
            outcome="done",
            object=asked.twin,
            request_id=asked.id,
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
        )

    def _certify(self, event: str, twin: str, more: dict[str, Any]) -> None:
        """Who acted stands in the audit log, which stays here; a ledger is handed out."""
        held = self._twins.get(twin)
        policy = load_policy(held.about.policy if held else "safe-harbor")
        time = ledger.coarse_time(policy, self._clock())
        entry = {"event": event, "time": time, "twin": twin, **more}
        ledger.append(self._ledger, self._signer, entry)


def _require_officer(who: Principal) -> None:
    if who.role is not Role.PRIVACY_OFFICER:
        raise DeskError("this takes a privacy officer's key: twinport keys api-key")
