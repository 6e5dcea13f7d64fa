"""Signatures: Ed25519, detached JWS over exact bytes (RFC 7797), and the file that carries both.

The file is `{"twin":` + document bytes + `,"proof":` + proof + `}`. The document is a closed JSON
object without free text, so the last `,"proof":` of the file is ours; nothing is re-serialised.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import OKPKey

from privacy.errors import KeyRefusedError, SignatureError

ALGORITHM = "Ed25519"  # RFC 9864; the older name EdDSA is accepted when verifying
ACCEPTED = ("Ed25519", "EdDSA")
LARGEST_HEADER = 4096
LAST_SECOND = 253_402_300_799  # of the year 9999
LARGEST_FILE = 64 << 20
HEAD, MIDDLE, TAIL = b'{"twin":', b',"proof":', b"}"


class _Registry(jws.JWSRegistry):
    """Our limits: documents are larger than tokens, and the header names the ledger entry."""

    max_header_length = LARGEST_HEADER
    max_payload_length = LARGEST_FILE

    def get_alg(self, name: str) -> JWSAlgModel:
        """The older name EdDSA is the same algorithm: no warning for documents that carry it."""
        if name not in ACCEPTED:
            raise UnsupportedAlgorithmError("the algorithm is not allowed")
        return self.algorithms[name]


_REGISTRY = _Registry(algorithms=list(ACCEPTED), strict_check_header=False)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Only the one canonical spelling: other spellings of the same bytes are refused."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise SignatureError("not base64url") from None
    if b64(data) != text:
        raise SignatureError("not the canonical base64url")
    return data


class SigningKey:
    """A private key. Its `kid` is the RFC 7638 thumbprint of its public half."""

    __slots__ = ("_key", "kid")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32 or len(set(seed)) < 12:
            raise KeyRefusedError("an Ed25519 seed is 32 random bytes: run `twinport keys init`")
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        jwk: dict[str, str | list[str]] = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": b64(public),
            "d": b64(seed),
        }
        self._key = OKPKey.import_key({**jwk})
        self.kid = self._key.thumbprint()

    @staticmethod
    def generate() -> "SigningKey":
        key = Ed25519PrivateKey.generate()
        return SigningKey(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    def seed(self) -> bytes:
        """For the operator's key file; never for the database."""
        return unb64(str(self._key.as_dict(private=True)["d"]))

    def public_jwk(self) -> dict[str, str]:
        return public_jwk(str(self._key.as_dict(private=False)["x"]))

    def sign(self, payload: bytes, extra: Mapping[str, Any] | None = None) -> str:
        """The detached JWS over exactly these bytes; `extra` joins the signed header."""
        header = {"alg": ALGORITHM, "b64": False, "crit": ["b64"], "kid": self.kid, **(extra or {})}
        return jws.serialize_compact(header, payload, self._key, registry=_REGISTRY)

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid}>"


def public_jwk(x: str) -> dict[str, str]:
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})
    kid = key.thumbprint()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": ALGORITHM}


def jwks(keys: Iterable[Mapping[str, str]]) -> dict[str, list[dict[str, str]]]:
    """The key set to publish: current, next and rotated keys; public members only."""
    return {"keys": [public_jwk(key["x"]) for key in keys]}


@dataclass(frozen=True, slots=True)
class Life:
    """From when and until when a key signed, as its issuer publishes it; None: not said, or open.

    What it signed while it lived stays verifiable: its private half was destroyed at the end.
    """

    since: date | None = None
    until: date | None = None

    def holds(self, told: str) -> bool:
        """Whether a date of the ledger, which may be a year alone, lies within."""
        return not (
            (self.since and told[:10] < self.since.isoformat()[: len(told)])
            or (self.until and told[:10] > self.until.isoformat()[: len(told)])
        )


class VerificationKeys:
    """The keys a verifier trusts, by thumbprint. A `kid` that is claimed but wrong is refused."""

    def __init__(self, key_set: Mapping[str, Any]) -> None:
        self._keys: dict[str, OKPKey] = {}
        self._lives: dict[str, Life] = {}
        for jwk in key_set.get("keys", []):
            if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
                continue  # a set may hold keys for other uses
            if "d" in jwk:
                raise KeyRefusedError("the key set holds a private key: publish public keys only")
            key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]})
            if jwk.get("kid", key.thumbprint()) != key.thumbprint():
                raise KeyRefusedError("a kid is not the RFC 7638 thumbprint of its key")
            self._keys[key.thumbprint()] = key
            self._lives[key.thumbprint()] = Life(_day(jwk, "iat"), _day(jwk, "exp"))

    def life(self, kid: str) -> Life:
        return self._lives.get(kid, Life())

    def get(self, kid: object) -> OKPKey:
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise SignatureError("signed by a key that is not in the key set")
        return key


def _day(jwk: Mapping[str, Any], name: str) -> date | None:
    """`iat` and `exp` of a key, as OpenID Federation's sets of historical keys have them."""
    seconds = jwk.get(name)
    if seconds is None:
        return None
    if type(seconds) is not int or not 0 <= seconds <= LAST_SECOND:
        raise KeyRefusedError("the key set says in a wrong form when a key began or ended")
    return datetime.fromtimestamp(seconds, UTC).date()


@dataclass(frozen=True, slots=True)
class Verified:
    kid: str
    header: Mapping[str, Any]


def verify(signature: str, payload: bytes, keys: VerificationKeys) -> Verified:
    """Check a detached JWS over exactly these bytes; raises SignatureError."""
    header = read_header(signature)
    key = keys.get(header.get("kid"))
    try:
        jws.deserialize_compact(signature, key, registry=_REGISTRY, payload=payload)
    except JoseError:
        raise SignatureError("the signature does not belong to these bytes") from None
    return Verified(header["kid"], header)


def read_header(signature: str) -> dict[str, Any]:
    """The protected header, checked before any key is touched. Keys in it are never trusted."""
    parts = signature.split(".")
    if len(parts) != 3 or parts[1] or len(parts[0]) > LARGEST_HEADER:
        raise SignatureError("not a detached JWS")
    unb64(parts[2])
    try:
        header = json.loads(unb64(parts[0]), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError):
        raise SignatureError("the header is not JSON") from None
    if not isinstance(header, dict) or header.get("alg") not in ACCEPTED:
        raise SignatureError("the algorithm is not allowed")
    if header.get("b64") is not False or header.get("crit") != ["b64"]:
        raise SignatureError("the header must be b64=false with crit=[b64]")
    return header


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise SignatureError("a name occurs twice")
    return found


# The file -----------------------------------------------------------------------------------------


def envelope(payload: bytes, proof: Mapping[str, str]) -> bytes:
    """The bytes of `twin.json`: the document exactly as signed, beside its proof `{"jws": ...}`."""
    if set(proof) != {"jws"}:
        raise SignatureError("a proof holds the signature, under the name jws, and nothing else")
    if not payload.startswith(b"{") or not payload.endswith(b"}") or MIDDLE in payload:
        raise SignatureError("the document is not a JSON object that can be enveloped")
    return HEAD + payload + MIDDLE + proof_bytes(proof) + TAIL


def proof_bytes(proof: Mapping[str, str]) -> bytes:
    return json.dumps(dict(proof), separators=(",", ":")).encode()


def open_envelope(file: bytes) -> tuple[bytes, dict[str, str]]:
    """The document bytes and the proof. Every byte of the file is accounted for."""
    if len(file) > LARGEST_FILE:
        raise SignatureError("the file is too large to be a twin")
    if not file.startswith(HEAD) or not file.endswith(TAIL) or file.count(MIDDLE) != 1:
        raise SignatureError("not a twin file: it was re-formatted, cut or changed")
    payload, _, rest = file[len(HEAD) :].partition(MIDDLE)
    try:
        proof = json.loads(rest[: -len(TAIL)], object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError):
        raise SignatureError("the proof is not JSON") from None
    if not isinstance(proof, dict) or set(proof) != {"jws"} or not isinstance(proof["jws"], str):
        raise SignatureError("the proof does not hold exactly one signature")
    if proof_bytes(proof) + TAIL != rest:
        raise SignatureError("the proof was re-formatted or changed")
    return payload, proof
