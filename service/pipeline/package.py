"""A twin of this installation as a package: gathered from the stores, signed by our key."""

from privacy.signing import envelope
from service.pipeline.runtime import Runtime
from service.portable import sphr
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import LedgerIndex
from service.stores.twins import TwinStore
from twin_engine.document import read


def package(runtime: Runtime, pseudonym: str, version: int | None = None) -> bytes | None:
    """None where no such twin, or no such version, is kept here."""
    stored = TwinStore(runtime.database).get(pseudonym, version)
    if stored is None:
        return None
    numbers = LedgerIndex(runtime.database).about(pseudonym)
    return sphr.build(
        envelope(stored.payload, {"jws": stored.proof.decode()}),
        runtime.versions.cards(read(stored.payload).document),
        SqlLedgerStore(runtime.database).entries(numbers),
        runtime.jwks(),
        runtime.signer,
    )
