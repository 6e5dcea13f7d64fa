"""The keys we sign in with. A file holds one, or a set of two while they are changed.

The first key of a file signs; all of them are published. So a key is changed in two steps: the new
one is published beside the old, and takes its place once the server has fetched the set.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from service.config.sections import ServerAuth
from service.fhir.errors import SetupError

_log = structlog.get_logger(__name__)

Key = RSAKey | ECKey
RSA_BITS = 3072
CURVE = "P-384"
_STEP = "`auth.key_file` must hold a private RSA or P-384 key, as JWK, JWK set or PEM."


def load_keys(path: str) -> list[Key]:
    """All keys of a file, the one that signs first."""
    try:
        keys = _parsed(Path(path).read_bytes())
        usable = bool(keys) and all(map(_can_sign, keys))
    except (OSError, ValueError, TypeError, AttributeError, JoseError):
        raise SetupError("auth.key_file", next_step=_STEP) from None
    if not usable:
        raise SetupError("auth.key_file", next_step=_STEP)
    return keys


def load_key(path: str) -> Key:
    """The key that signs."""
    return load_keys(path)[0]


def algorithm_of(key: Key) -> str:
    return "ES384" if isinstance(key, ECKey) else "RS384"


def key_id(key: Key) -> str:
    return key.kid or key.thumbprint()


def public_jwks(path: str) -> list[dict[str, Any]]:
    """The public halves of a key file, as they are registered with a server."""
    return [
        {
            **key.as_dict(private=False),
            "kid": key_id(key),
            "use": "sig",
            "alg": algorithm_of(key),
        }
        for key in load_keys(path)
    ]


def published(auths: Iterable[ServerAuth], *, lenient: bool = False) -> dict[str, Any]:
    """The public keys of all clients as one set, each once. `lenient`: a file that cannot be read
    costs its own keys alone, and the log says so; other servers go on fetching theirs."""
    files = dict.fromkeys(auth.key_file for auth in auths if auth.kind == "smart-backend")
    found: list[dict[str, Any]] = []
    unread = 0
    for file in files:
        try:
            found += public_jwks(file)
        except SetupError:
            if not lenient:
                raise
            unread += 1
    if unread:
        _log.warning("client-keys-unreadable", setting="auth.key_file", files=unread)
    return {"keys": list({key["kid"]: key for key in found}.values())}


def new_key(like: Key | None = None) -> Key:
    """A key of the same kind; P-384 where there is none yet."""
    if isinstance(like, RSAKey):
        return RSAKey.generate_key(RSA_BITS, parameters={"use": "sig"}, auto_kid=True)
    return ECKey.generate_key(CURVE, parameters={"use": "sig"}, auto_kid=True)


def rotated(path: str) -> tuple[bytes, bool]:
    """The file after the next step of a change; whether the new key signs from now on."""
    keys = load_keys(path)
    if len(keys) == 1:
        return _as_set([*keys, new_key(keys[0])]), False
    return _as_set(keys[1:]), True


def _as_set(keys: Iterable[Key]) -> bytes:
    # With the name a key is known by: a thumbprint is not written into a file by itself.
    named = [key.as_dict(private=True) | {"kid": key_id(key)} for key in keys]
    return orjson.dumps({"keys": named})


def _parsed(content: bytes) -> list[Key]:
    if not content.lstrip().startswith(b"{"):
        return [_from_pem(content)]
    found = orjson.loads(content)
    return [_from_jwk(item) for item in found.get("keys", [found])]


def _from_jwk(material: Any) -> Key:
    kind: type[RSAKey] | type[ECKey] = ECKey if material.get("kty") == "EC" else RSAKey
    return kind.import_key(material)


def _from_pem(content: bytes) -> Key:
    try:
        return ECKey.import_key(content)
    except (ValueError, JoseError, TypeError, AttributeError):
        return RSAKey.import_key(content)


def _can_sign(key: Key) -> bool:
    return key.is_private and (isinstance(key, RSAKey) or key.curve_name == CURVE)
