"""Everything that the officer's console reads and does, in one place."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from privacy import ledger
from privacy.signing import SigningKey, VerificationKeys
from service.office.archive import Archive
from service.office.keys import KeyFacts
from service.office.measured import Measured
from service.office.proofs import Proofs
from service.reidentify.desk import Desk
from service.risk.desk import RiskDesk
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import LedgerIndex
from service.stores.policies import PolicyStore
from service.stores.runs import RunStore
from service.stores.twins import TwinStore
from service.stores.vault import SqlVaultStore


@dataclass(frozen=True)
class Office:
    """Threads share it."""

    runs: RunStore
    twins: TwinStore
    ledger: SqlLedgerStore
    index: LedgerIndex
    audit: AuditStore
    archive: Archive
    proofs: Proofs
    measured: Measured
    requests: Desk
    vault: SqlVaultStore
    keys: Callable[[], KeyFacts]
    jwks: Callable[[], Mapping[str, Any]]
    signer: SigningKey

    @classmethod
    def over(
        cls,
        database: Database,
        *,
        signer: SigningKey,
        requests: Desk,
        keys: Callable[[], KeyFacts],
        jwks: Callable[[], Mapping[str, Any]],
    ) -> "Office":
        store = SqlLedgerStore(database)
        archive = Archive(PolicyStore(database))
        archive.keep_shipped()
        return cls(
            runs=RunStore(database),
            twins=TwinStore(database),
            ledger=store,
            index=LedgerIndex(database),
            audit=AuditStore(database),
            archive=archive,
            proofs=Proofs(database, lambda: VerificationKeys(jwks())),
            measured=Measured(database, RiskDesk(database, signer)),
            requests=requests,
            vault=SqlVaultStore(database),
            keys=keys,
            jwks=jwks,
            signer=signer,
        )

    def export(self) -> Iterator[bytes]:
        """The whole ledger, as it is handed out."""
        for line in ledger.export(self.ledger, self.signer):
            yield line + b"\n"
