"""What may be said of the keys: names and dates, never a key."""

from dataclasses import dataclass

from service.keys import KeyRing


@dataclass(frozen=True, slots=True)
class SigningFact:
    """A key that signs, or signed: by its thumbprint."""

    kid: str
    since: str
    until: str = ""  # empty: it signs now


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """`vault_epochs`: names of the vault's data keys, the newest last."""

    signing: tuple[SigningFact, ...]
    vault_key: str
    vault_key_since: str
    vault_previous: int
    session_since: str


def key_facts(ring: KeyRing) -> KeyFacts:
    retired = [SigningFact(key.kid, key.created, key.retired) for key in ring.signing_retired]
    return KeyFacts(
        signing=(SigningFact(ring.signing.kid, ring.signing.created), *retired),
        vault_key=ring.vault.id,
        vault_key_since=ring.vault.created,
        vault_previous=len(ring.vault_previous),
        session_since=ring.session.created,
    )
