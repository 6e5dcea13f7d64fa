"""Who the EHR says has signed in: the id token, checked as OpenID Connect demands."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from joserfc import jws, jwt
from joserfc.errors import JoseError

from service.auth.errors import AuthError
from service.auth.tokens import Registry, public_key
from service.smart.errors import LaunchError

Json = dict[str, Any]

ALGORITHMS = frozenset({"RS256", "RS384", "ES256", "ES384"})
SKEW_SECONDS = 60
OLDEST_SECONDS = 3600
_LONGEST = 16_384
_CLINICIANS = frozenset({"Practitioner", "PractitionerRole"})
_PERSON = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}")


class Clinician(NamedTuple):
    """`issuer` and `subject` name a person; `fhirUser` does not, it may change."""

    issuer: str
    subject: str


class Expected(NamedTuple):
    """What this launch asked for."""

    issuer: str
    client_id: str
    nonce: str
    base_url: str


def clinician_of(
    token: Any,
    keys: Mapping[str, Json],
    expected: Expected,
    now: Callable[[], float] = time.time,
) -> Clinician:
    """The clinician, or `LaunchError`: `launch-identity` for every fault of the token alike."""
    try:
        claims = _verified(token, keys)
        _check(claims, expected, now())
    except (AuthError, JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise LaunchError("launch-identity") from None
    if _kind(claims, expected.base_url) not in _CLINICIANS:
        raise LaunchError("launch-not-clinician")
    return Clinician(claims["iss"], claims["sub"])


def _verified(token: Any, keys: Mapping[str, Json]) -> Json:
    _require(isinstance(token, str) and len(token) <= _LONGEST)
    header = jws.extract_compact(token.encode("ascii")).headers()
    algorithm = header["alg"]
    _require(algorithm in ALGORITHMS and "crit" not in header)
    # The key by its name, if it is for this algorithm; never one that the token brings along.
    key = public_key(keys[header["kid"]], algorithm)
    claims: Json = jwt.decode(token, key, registry=Registry()).claims
    return claims


def _check(claims: Json, expected: Expected, now: float) -> None:
    _require(claims["iss"] == expected.issuer)
    named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    _require(expected.client_id in named)
    _require(len(named) == 1 or claims.get("azp") == expected.client_id)
    issued, expires = _seconds(claims["iat"]), _seconds(claims["exp"])
    _require(now - SKEW_SECONDS < expires and issued <= now + SKEW_SECONDS)
    _require(now - issued < OLDEST_SECONDS)
    _require(claims["nonce"] == expected.nonce)
    _require(isinstance(claims["sub"], str) and bool(claims["sub"]))


def _kind(claims: Json, base_url: str) -> str:
    """The type of `fhirUser` (`profile` where a server is older), if it is one of this EHR."""
    stated = claims.get("fhirUser") or claims.get("profile")
    relative = str(stated).removeprefix(f"{base_url}/")
    found = _PERSON.fullmatch(relative)
    return found[1] if found else ""


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a time is a number of seconds")
    return float(value)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("id token")
