"""The id token: who the EHR says has signed in, and every way in which that does not hold."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from service.smart.desk import challenge
from service.smart.errors import LaunchError
from service.smart.identity import Clinician, Expected, clinician_of

ISSUER, CLIENT, BASE = "https://ehr.example.org/oauth", "twinport-app", "https://ehr.example.org/r4"
NOW = 1_900_000_000
EXPECTED = Expected(ISSUER, CLIENT, "nonce-1", BASE)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-384", {"kid": "ec"})
KEYS = {key.kid: key.as_dict(private=False) for key in (RSA, EC)}
GOOD = {
    "iss": ISSUER,
    "sub": "user-1",
    "aud": CLIENT,
    "iat": NOW - 5,
    "exp": NOW + 300,
    "nonce": "nonce-1",
    "fhirUser": f"{BASE}/Practitioner/7",
}


def signed(key: RSAKey | ECKey = RSA, algorithm: str = "RS256", **changed: Any) -> str:
    claims = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": key.kid}, claims, key, algorithms=[algorithm])


def judged(token: Any) -> Clinician:
    return clinician_of(token, KEYS, EXPECTED, lambda: NOW)


def code(token: Any) -> str:
    with pytest.raises(LaunchError) as caught:
        judged(token)
    return caught.value.code


@pytest.mark.parametrize(
    "token",
    [
        signed(),
        signed(algorithm="RS384"),
        signed(EC, "ES384"),
        signed(aud=[CLIENT]),
        signed(aud=[CLIENT, "another"], azp=CLIENT),
        signed(fhirUser="Practitioner/7"),
        signed(fhirUser="PractitionerRole/7"),
        signed(fhirUser=None, profile=f"{BASE}/Practitioner/7"),
        signed(exp=NOW - 30),  # the clocks may differ by a minute
    ],
)
def test_a_clinician(token: str) -> None:
    assert judged(token) == Clinician(ISSUER, "user-1")


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example.org"},
        {"iss": None},
        {"aud": "somebody-else"},
        {"aud": [CLIENT, "somebody-else"]},
        {"aud": None},
        {"exp": NOW - 61},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": NOW + 61},
        {"iat": NOW - 3601},
        {"iat": True},
        {"iat": None},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": None},
    ],
)
def test_claims_that_do_not_hold(changed: dict[str, Any]) -> None:
    assert code(signed(**changed)) == "launch-identity"


@pytest.mark.parametrize(
    "user",
    [
        "Patient/7",
        f"{BASE}/RelatedPerson/7",
        "https://evil.example.org/Practitioner/7",
        f"{BASE}.evil.example.org/Practitioner/7",
        f"{BASE}/x/Practitioner/7",
        "Practitioner/../Patient",
        None,
        7,
    ],
)
def test_somebody_who_is_no_clinician_of_this_ehr(user: Any) -> None:
    assert code(signed(fhirUser=user)) == "launch-not-clinician"


def by_hand(header: dict[str, Any], secret: bytes = b"") -> str:
    parts = [json.dumps(part).encode() for part in (header, GOOD)]
    head = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = hmac.digest(secret, head, hashlib.sha256) if secret else b""
    return (head + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


@pytest.mark.parametrize(
    "token",
    [
        signed(RSAKey.generate_key(2048, {"kid": "rsa"})),  # the right name, another key
        signed(RSAKey.generate_key(2048, {"kid": "unknown"})),
        by_hand({"alg": "none", "kid": "rsa"}),
        by_hand({"alg": "HS256", "kid": "rsa"}, RSA.as_pem(private=False)),
        by_hand({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}),
        by_hand({"alg": "ES384", "kid": "rsa"}),  # a key of another kind
        by_hand({"alg": "RS256", "kid": ["rsa"]}),
        by_hand({"alg": "RS256"}),
        "x" * 20_000,
        "a.b",
        "",
        None,
        7,
    ],
)
def test_a_token_that_the_ehr_did_not_sign(token: Any) -> None:
    assert code(token) == "launch-identity"


def test_the_challenge_is_that_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
