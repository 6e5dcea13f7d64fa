"""De-identification as a service: what comes in one request, in memory, all of it or nothing.

What is kept of it (sealed ways back, a ledger entry bound to the bytes of the answer, an audit
event for each patient) is one transaction; without the record nothing is handed out.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from privacy import ledger
from privacy.errors import ConflictError
from privacy.policy import load_policy
from privacy.pseudonyms import new_pseudonym
from privacy.signing import SigningKey
from privacy.vault import Vault
from service.auth.principals import Principal
from service.deidentify.batch import Batch, Given
from service.deidentify.people import Identifying, People
from service.pipeline.errors import RunError
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.errors import ConflictError as StoreConflictError
from service.stores.ledger import SqlLedgerStore

TRIES = 10  # two requests about one patient at once: the second works on what the first has kept

Made = Sequence[Given]


@dataclass(frozen=True, slots=True)
class Done:
    """What was made of a request, and where that is recorded."""

    body: bytes = field(repr=False)
    written: int
    refusals: Counter[tuple[str, str]]  # (resource type, reason)
    entry: int


class Operation:
    """For any number of callers. Holds no patient; threads share it."""

    def __init__(
        self, *, project: str, database: Database, vault: Vault, signer: SigningKey
    ) -> None:
        self._project, self._database = project, database
        self._vault, self._signer = vault, signer
        self._ledger, self._audit = SqlLedgerStore(database), AuditStore(database)

    def apply(
        self,
        resources: Sequence[Any],
        policy_id: str,
        caller: Principal,
        body_of: Callable[[Made, Counter[tuple[str, str]]], bytes],
        request_id: str | None = None,
        *,
        bundled: bool = False,
        identifying: Identifying | None = None,
    ) -> Done:
        """`body_of` makes the answer, of which the ledger then holds the digest; of entries of a
        Bundle if they are to be `bundled`, else of resources.

        A caller's patients without a Patient resource are told apart by that caller's ids alone.
        `identifying`: what reading has collected already.
        """
        for _ in range(TRIES):
            people = People(new_pseudonym(), strangers=f"caller:{caller.subject}")
            people.read_all(resources, identifying)
            try:
                return self._apply(
                    resources, policy_id, caller, people, body_of, request_id, bundled
                )
            except (ConflictError, StoreConflictError):
                continue
        raise RunError("another request about the same patient is in the way; try again", "busy")

    def _apply(
        self,
        resources: Sequence[Any],
        policy_id: str,
        caller: Principal,
        people: People,
        body_of: Callable[[Made, Counter[tuple[str, str]]], bytes],
        request_id: str | None,
        bundled: bool,
    ) -> Done:
        policy = load_policy(policy_id)
        batch = Batch(
            policy, self._vault, people, project=self._project, today=datetime.now(UTC).date(),
            keep_open=max(1, len(resources)),
        )  # fmt: skip
        with batch:
            made = batch.apply(resources, bundled=bundled)
            with self._ledger.alone():
                return self._recorded(batch, made, policy.short, caller, body_of, request_id)

    def _recorded(
        self,
        batch: Batch,
        made: Made,
        policy: str,
        caller: Principal,
        body_of: Callable[[Made, Counter[tuple[str, str]]], bytes],
        request_id: str | None,
    ) -> Done:
        tally = batch.close()
        body = body_of(made, tally.refusals)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        outputs = [{"name": "answer", "n": len(made), "digest": digest}]
        head = ledger.append(self._ledger, self._signer, batch.entry(outputs))
        for person in tally.people:
            self._audit.record(
                role=caller.role, subject=caller.subject, action="deidentify", outcome="done",
                object=person, request_id=request_id, policy=policy,
            )  # fmt: skip
        return Done(body, len(made), tally.refusals, head.seq)
