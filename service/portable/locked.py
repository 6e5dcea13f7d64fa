"""A file under a passphrase, or for one receiver's key. Both are compact JWE, one text.

Passphrase: `dir` with A256GCM under the key that scrypt makes of the passphrase; how is in the
header (`kdf`), so that any language with scrypt and AES opens it. JOSE's own passphrase way
(PBES2) is left alone: the counts that are strong enough are refused by libraries in use.
Receiver: `ECDH-ES+A256KW` with A256GCM to a P-256 or X25519 public key, as any JOSE library reads.
"""

import json
import os
import secrets
import unicodedata
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from joserfc import jwe as jose
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from privacy.errors import SignatureError
from privacy.signing import b64, no_duplicates, unb64
from service.portable import jwe
from service.portable.errors import LockedError, PortableError

MEDIA_TYPE = "application/jose"
# OWASP's choice for scrypt; 128 MiB of memory and about half a second for each guess.
COST, BLOCK, PARALLEL, SALT = 1 << 17, 8, 1, 16
DEAREST = 1 << 18  # what a file may ask of its reader: 256 MiB
SHORTEST = 12  # of a passphrase that a person chooses
LONGEST = 8192  # of a receiver's key
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that are taken for another
_GROUPS = 5

TO_RECEIVER = {"alg": "ECDH-ES+A256KW", "enc": jwe.ENCRYPTION}
_RECEIVER = jose.JWERegistry(algorithms=list(TO_RECEIVER.values()), strict_check_header=False)
_CURVES: Mapping[str, type[ECKey] | type[OKPKey]] = {"P-256": ECKey, "X25519": OKPKey}


# -- passphrase --------------------------------------------------------------------------------


def new_passphrase() -> str:
    """Five groups of five: 125 bits. Nobody guesses it, whatever they may spend."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(_GROUPS))
    return "-".join(groups)


def lock(content: bytes, passphrase: str, content_type: str) -> str:
    if len(passphrase) < SHORTEST:
        raise PortableError(f"take a passphrase of {SHORTEST} characters or more")
    salt = os.urandom(SALT)
    kdf = {"name": "scrypt", "n": COST, "r": BLOCK, "p": PARALLEL, "salt": b64(salt)}
    header = {"alg": jwe.ALGORITHM, "enc": jwe.ENCRYPTION, "cty": content_type, "kdf": kdf}
    return jwe.encrypt(content, _stretched(passphrase, salt, COST, BLOCK, PARALLEL), header)


def unlock(text: str, passphrase: str, largest: int = jwe.LARGEST) -> jwe.Opened:
    header = jwe.read_header(text)
    key = _stretched(passphrase, *_asked(header.get("kdf")))
    content_type = header.get("cty")
    try:
        content = jwe.decrypt(text, header, key, largest)
    except LockedError:
        sentence = "the passphrase does not open it, or the file was changed"
        raise LockedError(sentence) from None
    return jwe.Opened(content, content_type if isinstance(content_type, str) else None)


def needs_passphrase(text: str) -> bool:
    return "kdf" in jwe.read_header(text)


def _asked(kdf: Any) -> tuple[bytes, int, int, int]:
    """What the file asks of us, within what we are ready to spend on it."""
    if not isinstance(kdf, Mapping) or kdf.get("name") != "scrypt":
        raise PortableError("it is not locked with a passphrase")
    numbers = [kdf.get(name) for name in ("n", "r", "p")]
    if not all(type(number) is int for number in numbers):
        raise PortableError("its passphrase parameters can't be read")
    cost, block, parallel = (int(number) for number in numbers if number is not None)
    sound = cost >= 2 and cost & (cost - 1) == 0 and block == BLOCK and parallel == PARALLEL
    if not sound or cost > DEAREST:
        raise PortableError("it asks for more work or memory to open than is reasonable")
    try:
        return unb64(str(kdf.get("salt"))), cost, block, parallel
    except SignatureError:
        raise PortableError("its passphrase parameters can't be read") from None


def _stretched(passphrase: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    """NFKC, because two keyboards spell one letter in two ways."""
    secret = unicodedata.normalize("NFKC", passphrase).encode()
    return Scrypt(salt=salt, length=jwe.KEY, n=cost, r=block, p=parallel).derive(secret)


# -- a receiver's key --------------------------------------------------------------------------


def address(content: bytes, receiver: Mapping[str, Any], content_type: str) -> str:
    key = _key(receiver)
    header = {**TO_RECEIVER, "cty": content_type, "kid": key.thumbprint()}
    return jose.encrypt_compact(header, content, key, registry=_RECEIVER)


def read_key(text: str) -> Mapping[str, Any]:
    """A receiver's key as they sent it: one JWK, or a key set of one. Theirs alone is the private
    half: whoever sends it along has given everything away, and is told so."""
    try:
        found = json.loads(text, object_pairs_hook=no_duplicates) if len(text) <= LONGEST else None
    except (ValueError, RecursionError, SignatureError):
        found = None
    keys = found.get("keys") if isinstance(found, dict) else None
    if isinstance(keys, list):
        found = keys[0] if len(keys) == 1 else None
    if not isinstance(found, dict):
        raise PortableError("the receiver's key can't be read: it is one JWK, in JSON")
    if "d" in found:
        raise PortableError("this is a private key: ask the receiver for the public one alone")
    return found


def open_addressed(text: str, private: Mapping[str, Any], largest: int = jwe.LARGEST) -> jwe.Opened:
    if len(text) > 2 * largest:
        raise PortableError("the encrypted file is too large")
    try:
        found = jose.decrypt_compact(text, _key(private), registry=_RECEIVER)
    except (JoseError, ValueError, TypeError, KeyError):
        raise LockedError("this key does not open it, or the file was changed") from None
    content_type = found.headers().get("cty")
    content = found.plaintext
    if content is None or len(content) > largest:
        raise PortableError("the encrypted file is too large")
    return jwe.Opened(content, content_type if isinstance(content_type, str) else None)


def _key(jwk: Mapping[str, Any]) -> ECKey | OKPKey:
    kind = _CURVES.get(str(jwk.get("crv")))
    if kind is None:
        raise PortableError("give a JWK of curve P-256 or X25519")
    try:
        return kind.import_key({str(name): value for name, value in jwk.items()})
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        raise PortableError("the key is not a JWK that can be used") from None
