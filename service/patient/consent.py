"""Consent by purpose. The newest decision of a person holds; without one, what is usual does.

Purposes are codes of HL7's v3 ActReason. Care is usual; research and quality need a yes.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from service.auth import Principal
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.consents import ConsentStore

CARE = "care"
REFUSED = "not-consented"
DECIDED = "consent"


@dataclass(frozen=True, slots=True)
class Purpose:
    id: str
    code: str
    usual: bool


def _read() -> Mapping[str, Purpose]:
    text = files(__package__).joinpath("purposes.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), strict=True)
    return {row["id"]: Purpose(row["id"], row["code"], row["usual"] == "yes") for row in rows}


PURPOSES: Mapping[str, Purpose] = _read()


class NotConsentedError(Exception):
    """The patient has not allowed this use. Says the purpose, and nobody's name."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"the patient has not allowed use for {purpose}; ask them: they decide on their own "
            "page, under What it may be used for"
        )
        self.purpose = purpose


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for one purpose. `decided`: when the patient said so; None: it is the usual."""

    purpose: Purpose
    allowed: bool
    decided: datetime | None


class Decisions:
    """By twin: what its patient has decided."""

    def __init__(self, database: Database) -> None:
        self._store = ConsentStore(database)
        self._audit = AuditStore(database)

    def of_twin(self, twin: str) -> list[Standing]:
        return self._standings(self._store.person(twin))

    def decide(self, who: Principal, twin: str, purpose: str, *, allowed: bool) -> None:
        """Holds from now on, for every twin of the same patient."""
        self._store.decide(self._store.person(twin), purpose, allowed=allowed)
        self._note(
            who.role, who.subject, DECIDED, "allowed" if allowed else "refused", twin, purpose
        )

    def refusing(self, purpose: str) -> list[str]:
        """Twins that may not be used for what everybody's usually may."""
        return self._store.refusing(purpose)

    def require_twin(self, twin: str, purpose: str, role: str, subject: str) -> None:
        """Before a twin is handed out."""
        if not self._allowed(self._store.person(twin), purpose):
            self._note(role, subject, "twin.export", REFUSED, twin, purpose)
            raise NotConsentedError(purpose)

    def _allowed(self, person: str, purpose: str) -> bool:
        return next(s.allowed for s in self._standings(person) if s.purpose.id == purpose)

    def _standings(self, person: str) -> list[Standing]:
        said = self._store.decisions(person)
        return [
            Standing(one, said[name].allowed, said[name].decided)
            if name in said
            else Standing(one, one.usual, None)
            for name, one in PURPOSES.items()
        ]

    def _note(
        self, role: str, subject: str, action: str, outcome: str, twin: str | None, purpose: str
    ) -> None:
        self._audit.record(
            role=role,
            subject=subject,
            action=action,
            outcome=outcome,
            object=twin,
            purpose=PURPOSES[purpose].code,
        )


class Consents(Decisions):
    """By record besides. `index` names a patient of a server by a keyed hash."""

    def __init__(self, database: Database, index: Callable[[str, str, str], str]) -> None:
        super().__init__(database)
        self._index = index

    def require(self, base: str, patient: str, purpose: str) -> str:
        """Before a record is used; who the patient is, as a keyed hash."""
        person = self.person(base, patient)
        if not self._allowed(person, purpose):
            self._note("system", "twinport", "run", REFUSED, None, purpose)
            raise NotConsentedError(purpose)
        return person

    def allows(self, base: str, patient: str, purpose: str) -> bool:
        """The same before anything depends on it: a no is not noted."""
        return self._allowed(self.person(base, patient), purpose)

    def person(self, base: str, patient: str) -> str:
        return self._index("consent", base, patient)

    def know(self, person: str, twin: str) -> None:
        self._store.know(person, twin)
