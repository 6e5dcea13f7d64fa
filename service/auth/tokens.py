"""Bearer tokens (JWT) of the configured issuer."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from service.auth.errors import AuthError, AuthErrorCode
from service.auth.jwks import JwksCache
from service.auth.principals import PSEUDONYM, ROLE_SCOPES, Kind, Principal, Role, Scope
from service.auth.secret_hashes import name_for

# Algorithm to the key it needs. What is not here (none, HMAC, RSA-PSS, P-521 …) is refused.
ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "Ed25519": ("OKP", "Ed25519"),
    "EdDSA": ("OKP", "Ed25519"),
}
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}
_MAX_CHARACTERS = 16_384
_MIN_RSA_BITS = 2048
_SCOPE_PREFIX = "twinport/"

PublicKey = RSAKey | ECKey | OKPKey


class Registry(jws.JWSRegistry):
    """Our algorithms. ``EdDSA`` is the older name of Ed25519 (RFC 8037, RFC 9864)."""

    max_header_length = 4096

    def __init__(self) -> None:
        super().__init__(algorithms=list(ALGORITHMS), strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


class BearerTokens:
    """Checks a token: signature, issuer, audience, times; then role and scopes."""

    def __init__(
        self,
        keys: JwksCache,
        *,
        issuer: str,
        audience: str,
        patient_claim: str,
        subject_key: bytes,
        skew_seconds: int = 60,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._patient_claim = patient_claim
        self._subject_key = subject_key
        self._registry = Registry()
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=skew_seconds,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )

    def check(self, token: str) -> Principal:
        claims = self._verified(token)
        role, scopes = _role_and_scopes(claims.get("scope", claims.get("scp")))
        subject = json.dumps([claims["iss"], claims["sub"]])
        name = f"{role.value}.{name_for(self._subject_key, 'token-subject', subject)}"
        return Principal(role, scopes, name, Kind.TOKEN, self._twin(role, claims))

    def _verified(self, token: str) -> dict[str, Any]:
        if len(token) > _MAX_CHARACTERS:
            raise AuthError(AuthErrorCode.UNREADABLE)
        try:
            key = self._key_for(jws.extract_compact(token.encode("ascii")).headers())
            claims = jwt.decode(token, key, registry=self._registry).claims
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise AuthError(AuthErrorCode.EXPIRED) from error
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise AuthError(AuthErrorCode.INVALID) from error
        return claims

    def _key_for(self, header: Mapping[str, Any]) -> PublicKey:
        """The key named by ``kid``, if it is for this algorithm. ``jwk``, ``jku``, ``x5u`` in the
        header are never looked at: a token must not bring its own proof."""
        algorithm, kid = str(header.get("alg")), header.get("kid")
        if algorithm not in ALGORITHMS or not isinstance(kid, str):
            raise AuthError(AuthErrorCode.INVALID)
        if str(header.get("typ", "jwt")).lower() not in _TYPES:
            raise AuthError(AuthErrorCode.INVALID)
        found = self._keys.find(kid)
        if found is None:
            raise AuthError(AuthErrorCode.INVALID)
        return public_key(found, algorithm)

    def _twin(self, role: Role, claims: Mapping[str, Any]) -> str | None:
        if role is not Role.PATIENT:
            return None
        twin = claims.get(self._patient_claim)
        if not isinstance(twin, str) or not PSEUDONYM.fullmatch(twin):
            raise AuthError(AuthErrorCode.NO_ROLE)
        return twin


def public_key(found: Mapping[str, Any], algorithm: str) -> PublicKey:
    kind, curve = ALGORITHMS[algorithm]
    meant_for = found.get("alg", algorithm)
    if found.get("kty") != kind or (curve and found.get("crv") != curve):
        raise AuthError(AuthErrorCode.INVALID)
    if _modern(meant_for) != _modern(algorithm):
        raise AuthError(AuthErrorCode.INVALID)
    members = {name: found[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in found}
    if kind == "RSA":
        if _bits(members["n"]) < _MIN_RSA_BITS:
            raise AuthError(AuthErrorCode.INVALID)
        return RSAKey.import_key(members)
    return ECKey.import_key(members) if kind == "EC" else OKPKey.import_key(members)


def _bits(modulus: str) -> int:
    padded = modulus + "=" * (-len(modulus) % 4)
    return int.from_bytes(base64.urlsafe_b64decode(padded)).bit_length()


def _modern(algorithm: Any) -> Any:
    return "Ed25519" if algorithm == "EdDSA" else algorithm


def _role_and_scopes(granted: Any) -> tuple[Role, frozenset[Scope]]:
    """``twinport/<role>`` names the one role; ``twinport/<scope>`` beside it narrows it."""
    words = granted if isinstance(granted, list) else str(granted or "").split()
    ours = {str(w).removeprefix(_SCOPE_PREFIX) for w in words if str(w).startswith(_SCOPE_PREFIX)}
    roles = [role for role in Role if role.value in ours]
    if len(roles) != 1:
        raise AuthError(AuthErrorCode.NO_ROLE)
    named = frozenset(scope for scope in Scope if scope.value in ours)
    unknown = ours - {roles[0].value} - {scope.value for scope in named}
    held = ROLE_SCOPES[roles[0]]
    # A narrowing that cannot be understood must not be read as none at all.
    if unknown or not named <= held:
        raise AuthError(AuthErrorCode.NO_ROLE)
    return roles[0], named or held
