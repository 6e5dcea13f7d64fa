"""Which public keys a check trusts: a key file given, else this installation's own."""

from pathlib import Path

import orjson

from privacy.errors import KeyRefusedError
from privacy.signing import VerificationKeys
from service.cli.exits import CommandError, Exit
from service.config import load_config
from service.keys import KeyRing
from service.keys.errors import KeyRefusedError as RingRefusedError

NO_KEYS = (
    "no keys to check against: give the issuer's key set with --keys (its /.well-known/jwks.json)"
)


def trusted_keys(given: Path | None) -> VerificationKeys:
    return VerificationKeys(_own() if given is None else _read(given))


def _own() -> dict[str, object]:
    folder = load_config().keys_dir
    if not folder.exists():
        raise CommandError(NO_KEYS, Exit.USAGE)
    try:
        return KeyRing.load(folder).jwks()
    except RingRefusedError:
        raise CommandError(NO_KEYS, Exit.USAGE) from None


def _read(path: Path) -> dict[str, object]:
    try:
        found = orjson.loads(path.read_bytes())
        VerificationKeys(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, KeyRefusedError):
        raise CommandError("the key file holds no JWK set (JSON with `keys`)", Exit.INPUT) from None
    keys: dict[str, object] = found
    return keys
