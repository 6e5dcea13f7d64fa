"""Risk as the officer's console and the command line ask for it. Answers are plain data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from privacy import ledger
from privacy.policy import load_policy
from privacy.signing import SigningKey
from service.auth import Role
from service.auth.principals import Principal
from service.risk.report import Compared, held_report, thresholds, twin_report
from service.risk.rows import documents
from service.risk.settings import DEFAULT, RiskError, chosen
from service.risk.snapshot import history
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.database import utc_now
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import EntryFilter, LedgerIndex, entry_of
from service.stores.risk import RiskSettings, RiskStore, Row

Json = dict[str, Any]

COMPARED = 1000  # twins whose contents are compared with each other, at most


class RiskDesk:
    """Threads share it."""

    def __init__(
        self,
        database: Database,
        signer: SigningKey,
        *,
        clock: Callable[[], datetime] = utc_now,
        compared: int = COMPARED,
    ) -> None:
        self._database, self._signer, self._clock = database, signer, clock
        self._most = compared
        self._store = RiskStore(database, clock)
        self._ledger = SqlLedgerStore(database)
        self._index = LedgerIndex(database)
        self._audit = AuditStore(database, clock)

    # -- measuring -----------------------------------------------------------------------------

    def held(
        self,
        policy: str = "safe-harbor",
        *,
        knows: Sequence[str] = (),
        population: int | None = None,
    ) -> Json:
        """Of all twins held under one policy. `knows`, `population`: asked for, nothing is set."""
        settings = self._asked(knows, population)
        names = settings.knows
        compared = self._compared(policy)
        found = held_report(
            self._store.classes(policy, names),
            self._store.with_conditions(policy, names),
            compared,
            settings,
        )
        return {"policy": policy, **found}

    def twin(self, pseudonym: str) -> Json:
        """Of one held twin, among those of its policy."""
        settings = self.settings()
        row, policy = self._store.row(pseudonym, settings.knows), self._store.policy(pseudonym)
        if row is None or policy is None:
            raise RiskError("no such twin is held here")
        classes = self._store.classes(policy, settings.knows)
        compared = self._compared(policy, pseudonym)
        return {
            "policy": policy,
            **twin_report(row, classes, compared, pseudonym, settings),
        }

    def history(self, policy: str | None = None, limit: int = 500) -> list[Json]:
        """The snapshots that the ledger binds, oldest first, the newest `limit` of them."""
        made, _ = self._index.entries(EntryFilter("twin-made", policy), limit=limit)
        lines = self._ledger.entries([entry.seq for entry in made])
        return history(map(entry_of, lines), policy)

    def thresholds(self, policy: str = "safe-harbor") -> list[Json]:
        """Every published threshold and the one in use, against the twins held."""
        settings = self.settings()
        return thresholds(self._store.classes(policy, settings.knows), settings)

    # -- settings ------------------------------------------------------------------------------

    def settings(self) -> RiskSettings:
        return self._store.settings() or DEFAULT

    def decisions(self) -> list[RiskSettings]:
        """Every setting there was, latest first."""
        return self._store.history()

    def settle(
        self,
        who: Principal,
        *,
        threshold: str = DEFAULT.threshold,
        k: int | None = None,
        knows: Sequence[str] = DEFAULT.knows,
        population: int | None = None,
        source: str = "",
        people: Mapping[Row, int] | None = None,
    ) -> RiskSettings:
        """From now on; by an officer, with an audit event and a ledger entry."""
        if who.role is not Role.PRIVACY_OFFICER:
            raise RiskError("this takes a privacy officer's key: twinport keys api-key")
        made = chosen(
            threshold=threshold, k=k, knows=knows, population=population, source=source,
            people=people,
        )  # fmt: skip
        with self._ledger.alone():
            self._store.settle(who.subject, made)
            self._audit.record(
                role=who.role, subject=who.subject, action="risk-settings", outcome="done"
            )
            ledger.append(self._ledger, self._signer, self._entry(made))
        return self.settings()

    # -- pieces --------------------------------------------------------------------------------

    def _asked(self, knows: Sequence[str], population: int | None) -> RiskSettings:
        settings = self.settings()
        if knows and tuple(knows) != settings.knows:
            names = chosen(knows=knows).knows
            settings = replace(settings, knows=names, people=None)  # it counts other traits
        if population is not None:
            settings = replace(settings, population=population, people=None, source="")
        return settings

    def _compared(self, policy: str, twin: str | None = None) -> Compared:
        twins = self._store.sample(policy, self._most)
        if twin is not None and twin not in twins:
            twins[-1:] = [twin]
        return Compared(list(documents(self._database, twins)))

    def _entry(self, made: RiskSettings) -> Json:
        """Who decided stands in the audit log, which stays here; a ledger is handed out."""
        return {
            "event": "risk-settings",
            "time": ledger.coarse_time(load_policy("safe-harbor"), self._clock()),
            "threshold": made.threshold,
            "wanted": made.k,
            "knows": list(made.knows),
            "population": made.population,
            "classesKnown": made.people is not None,
        }
