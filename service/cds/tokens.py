"""Who calls: the JWT of a CDS client. Everything that needs no network is checked before any."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from service.auth.errors import AuthError
from service.auth.jwks import JwksCache, fetch_jwks, read_jwks
from service.config.sections import CdsClient, Server
from service.stores.cds import CdsStore

# Algorithm → what its key must be. `none`, HMAC and all others are refused.
ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS384": ("RSA", None),
    "ES384": ("EC", "P-384"),
}
SKEW = 60
LONGEST = 3600
_MOST_CHARACTERS = 16_384
_LEAST_RSA_BITS = 2048


class TokenRefusedError(Exception):
    """Said to nobody in more words than this; the reason helps whoever forges."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A CDS client that proved who it is: the server of the configuration that it belongs to."""

    server: str


@dataclass(frozen=True)
class _Client:
    server: str
    settings: CdsClient
    keys: JwksCache


class Tokens:
    """Checks tokens of the clients that the configuration names."""

    def __init__(
        self,
        servers: Mapping[str, Server],
        store: CdsStore,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clients = {
            server.cds.issuer: _Client(name, server.cds, JwksCache(_keys(server.cds)))
            for name, server in servers.items()
            if server.cds.issuer
        }
        self._store = store
        self._now = now
        self._registry = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)

    @property
    def any(self) -> bool:
        return bool(self._clients)

    def check(self, authorization: str | None, audiences: Iterable[str]) -> Caller:
        """The caller; `TokenRefusedError` for every fault alike."""
        try:
            return self._check(_bearer(authorization), frozenset(audiences))
        except (AuthError, JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise TokenRefusedError from None

    def _check(self, token: str, audiences: frozenset[str]) -> Caller:
        parts = jws.extract_compact(token.encode("ascii"))
        header, unverified = parts.headers(), orjson.loads(parts.payload)
        algorithm, kid = header["alg"], header["kid"]
        _require(algorithm in ALGORITHMS and isinstance(kid, str))
        _require(str(header.get("typ", "")).upper() == "JWT" and "crit" not in header)
        client = self._clients[unverified["iss"]]
        _require(header.get("jku") in (None, client.settings.jwks_url))
        # From here on the network may be asked: for the one address that is configured.
        found = client.keys.find(kid)
        _require(found is not None)
        claims = jwt.decode(token, _key(found or {}, algorithm), registry=self._registry).claims
        _require(claims["iss"] == client.settings.issuer)
        self._check_claims(claims, client, audiences)
        self._check_first_use(claims, client)
        return Caller(client.server)

    def _check_claims(
        self, claims: Mapping[str, Any], client: _Client, audiences: frozenset[str]
    ) -> None:
        named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        own = {client.settings.audience} - {""}
        _require(not (audiences | own).isdisjoint(named))
        now, issued, expires = self._now(), _seconds(claims["iat"]), _seconds(claims["exp"])
        _require(now - SKEW < expires and issued <= now + SKEW and expires - issued <= LONGEST)
        _require("nbf" not in claims or _seconds(claims["nbf"]) <= now + SKEW)
        tenants = client.settings.tenants
        _require(not tenants or claims.get("tenant") in tenants)

    def _check_first_use(self, claims: Mapping[str, Any], client: _Client) -> None:
        _require(isinstance(claims["jti"], str) and bool(claims["jti"]))
        digest = hashlib.sha256(orjson.dumps([client.settings.issuer, claims["jti"]])).digest()
        expires = datetime.fromtimestamp(_seconds(claims["exp"]) + SKEW, UTC)
        _require(self._store.first_use(digest, expires))


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("token")


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    _require(scheme.lower() == "bearer" and 0 < len(token) <= _MOST_CHARACTERS)
    return token.strip()


def _seconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a time is a whole number of seconds")
    return value


def _key(found: Mapping[str, Any], algorithm: str) -> RSAKey | ECKey:
    """The key, if it is of the kind that the algorithm needs."""
    kind, curve = ALGORITHMS[algorithm]
    _require(found.get("kty") == kind and found.get("alg", algorithm) == algorithm)
    _require(curve is None or found.get("crv") == curve)
    members = {name: found[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in found}
    if kind == "EC":
        return ECKey.import_key(members)
    key = RSAKey.import_key(members)
    _require(key.raw_value.key_size >= _LEAST_RSA_BITS)
    return key


def _keys(client: CdsClient) -> Callable[[], Mapping[str, Any]]:
    if client.jwks_file:
        return read_jwks(Path(client.jwks_file))
    return fetch_jwks(client.jwks_url)
