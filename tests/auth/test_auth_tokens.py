"""Bearer tokens: every check, one by one, against a real issuer's key endpoint on this machine."""

import base64
import json
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from service.auth import (
    AuthError,
    AuthErrorCode,
    BearerTokens,
    JwksCache,
    Kind,
    Role,
    Scope,
    fetch_jwks,
)

ISSUER, AUDIENCE, NOW = "https://idp.example/realm", "https://twin.example", 1_930_000_000
TWIN = "A" * 22

KEYS: dict[str, Any] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "p256"}),
    "ES384": ECKey.generate_key("P-384", {"kid": "p384"}),
    "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}
KEYS["RS384"], KEYS["EdDSA"] = KEYS["RS256"], KEYS["Ed25519"]
PUBLIC = {"keys": [KEYS[a].as_dict(private=False) for a in ("RS256", "ES256", "ES384", "Ed25519")]}


def _tokens(keys: JwksCache | None = None) -> BearerTokens:
    return BearerTokens(
        keys or JwksCache(lambda: PUBLIC),
        issuer=ISSUER,
        audience=AUDIENCE,
        patient_claim="twinport_twin",
        subject_key=bytes(32),
        now=lambda: NOW,
    )


def _claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "Erika Mustermann",
        "exp": NOW + 300,
        "iat": NOW,
        "scope": "openid twinport/ehr",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _sign(claims: dict[str, Any], alg: str = "ES256", key: Any = None, **header: Any) -> str:
    chosen = key or KEYS[alg]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode(
            {"alg": alg, "kid": chosen.kid, **header}, claims, chosen, algorithms=[alg]
        )


def _refusal(token: str) -> AuthErrorCode:
    with pytest.raises(AuthError) as caught:
        _tokens().check(token)
    assert "Mustermann" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("alg", sorted(KEYS))
def test_each_accepted_algorithm_lets_in(alg: str) -> None:
    principal = _tokens().check(_sign(_claims(), alg))
    assert (principal.role, principal.kind) == (Role.EHR, Kind.TOKEN)
    assert principal.subject.startswith("ehr.")
    assert "Mustermann" not in principal.subject


def test_the_same_subject_keeps_its_name_and_another_issuer_has_others() -> None:
    names = [_tokens().check(_sign(_claims(iat=NOW - i))).subject for i in range(2)]
    assert len(set(names)) == 1
    assert _tokens().check(_sign(_claims(sub="another"))).subject not in names


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://evil.example"}, AuthErrorCode.INVALID),
        ({"iss": ISSUER + "/"}, AuthErrorCode.INVALID),
        ({"iss": None}, AuthErrorCode.INVALID),
        ({"aud": "https://other.example"}, AuthErrorCode.INVALID),
        ({"aud": ["https://other.example"]}, AuthErrorCode.INVALID),
        ({"aud": {"0": AUDIENCE}}, AuthErrorCode.INVALID),
        ({"aud": None}, AuthErrorCode.INVALID),
        ({"sub": None}, AuthErrorCode.INVALID),
        ({"sub": 7}, AuthErrorCode.INVALID),
        ({"exp": None}, AuthErrorCode.INVALID),
        ({"exp": NOW - 60}, AuthErrorCode.EXPIRED),
        ({"exp": str(NOW + 300)}, AuthErrorCode.INVALID),
        ({"exp": True}, AuthErrorCode.INVALID),
        ({"nbf": NOW + 61}, AuthErrorCode.INVALID),
        ({"iat": NOW + 61}, AuthErrorCode.INVALID),
        ({"scope": None}, AuthErrorCode.NO_ROLE),
        ({"scope": "openid ehr"}, AuthErrorCode.NO_ROLE),
        ({"scope": "twinport/ehr twinport/admin"}, AuthErrorCode.NO_ROLE),
        ({"scope": "twinport/ehr twinport/runs:delete"}, AuthErrorCode.NO_ROLE),
        ({"scope": "twinport/ehr twinport/keys:write"}, AuthErrorCode.NO_ROLE),
        ({"scope": "twinport/runs:read"}, AuthErrorCode.NO_ROLE),
        ({"scope": "twinport/patient"}, AuthErrorCode.NO_ROLE),
        ({"scope": "twinport/patient", "twinport_twin": "Patient/1"}, AuthErrorCode.NO_ROLE),
    ],
)
def test_each_claim_is_checked(changes: dict[str, Any], code: AuthErrorCode) -> None:
    assert _refusal(_sign(_claims(**changes))) is code


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://other.example", AUDIENCE]},
        {"exp": NOW - 59},
        {"nbf": NOW + 60},
        {"iat": NOW + 60},
        {"iat": None},
        {"scope": ["twinport/ehr"]},
        {"scope": None, "scp": "twinport/ehr"},
        {"twinport_twin": TWIN},  # a claim for patients does not bind anybody else
    ],
)
def test_what_is_within_bounds_lets_in(changes: dict[str, Any]) -> None:
    assert _tokens().check(_sign(_claims(**changes))).twin is None


def test_scopes_narrow_the_role_and_patients_are_bound() -> None:
    narrowed = _tokens().check(_sign(_claims(scope="twinport/ehr twinport/runs:read")))
    assert narrowed.scopes == {Scope.RUNS_READ}
    patient = _tokens().check(_sign(_claims(scope="twinport/patient", twinport_twin=TWIN)))
    assert (patient.role, patient.twin) == (Role.PATIENT, TWIN)


# -- forgeries ---------------------------------------------------------------------------------


def _b64(data: Any) -> str:
    text = json.dumps(data).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def test_a_token_without_signature_is_refused() -> None:
    for alg in ("none", "None", "NONE", ""):
        token = f"{_b64({'alg': alg, 'kid': 'p256'})}.{_b64(_claims())}."
        assert _refusal(token) is AuthErrorCode.INVALID


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("name", ["RS256", "ES256", "Ed25519"])
def test_a_public_key_cannot_serve_as_a_shared_secret(alg: str, name: str) -> None:
    public = json.dumps(KEYS[name].as_dict(private=False)).encode()
    key = OctKey.import_key(public, {"kid": KEYS[name].kid})
    token = jws.serialize_compact(
        {"alg": alg, "kid": key.kid}, json.dumps(_claims()), key, algorithms=[alg]
    )
    assert _refusal(token) is AuthErrorCode.INVALID


@pytest.mark.parametrize("alg", ["PS256", "RS512", "ES512"])
def test_other_algorithms_are_refused(alg: str) -> None:
    key = ECKey.generate_key("P-521", {"kid": "p256"}) if alg == "ES512" else KEYS["RS256"]
    assert _refusal(_sign(_claims(), alg, key)) is AuthErrorCode.INVALID


def test_a_stranger_key_under_a_known_name_is_refused() -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "p256"})
    assert _refusal(_sign(_claims(), "ES256", stranger)) is AuthErrorCode.INVALID
    brought = {"jwk": stranger.as_dict(private=False)}
    assert _refusal(_sign(_claims(), "ES256", stranger, **brought)) is AuthErrorCode.INVALID


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "unknown"},
        {"kid": 7},
        {"kid": "rsa"},
        {"typ": "logout+jwt"},
        {"crit": ["x"], "x": 1},
    ],
)
def test_headers_that_do_not_fit_are_refused(header: dict[str, Any]) -> None:
    head, body, signature = _sign(_claims()).split(".")
    del head
    changed = _b64({"alg": "ES256", "kid": "p256", **header})
    assert _refusal(f"{changed}.{body}.{signature}") is AuthErrorCode.INVALID


def test_keys_for_other_uses_are_not_used() -> None:
    public = KEYS["ES256"].as_dict(private=False)
    for wrong in ({"use": "enc"}, {"alg": "ES384"}, {"kty": "oct"}, {"d": "AA"}):
        cache = JwksCache(lambda wrong=wrong: {"keys": [{**public, **wrong}]})  # type: ignore[misc]
        with pytest.raises(AuthError):
            _tokens(cache).check(_sign(_claims()))


def test_a_short_rsa_key_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = RSAKey.generate_key(1024, {"kid": "weak"})
        token = jwt.encode({"alg": "RS256", "kid": "weak"}, _claims(), weak)
    cache = JwksCache(lambda: {"keys": [weak.as_dict(private=False)]})
    with pytest.raises(AuthError):
        _tokens(cache).check(token)


def test_an_endless_token_is_not_even_read() -> None:
    assert _refusal("a" * 16_385) is AuthErrorCode.UNREADABLE


@given(token=st.text(alphabet=st.characters(max_codepoint=127), max_size=80))
def test_no_text_breaks_the_reader(token: str) -> None:
    with pytest.raises(AuthError):
        _tokens().check(token)


@given(position=st.integers(0, 10_000), letter=st.sampled_from("ABCDEFGHabcdefgh0123-_"))
def test_no_changed_letter_goes_unnoticed(position: int, letter: str) -> None:
    """The last letter of a part may carry unused bits; only those are left out."""
    token = _sign(_claims())
    place = position % len(token)
    if token[place] in (letter, ".") or token[place + 1 : place + 2] in ("", "."):
        return
    with pytest.raises(AuthError):
        _tokens().check(token[:place] + letter + token[place + 1 :])


# -- the issuer's keys -------------------------------------------------------------------------


class _Issuer(ThreadingHTTPServer):
    """Publishes whatever ``answer`` says and counts who asks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Publish)
        self.answer: tuple[int, bytes] = (200, json.dumps(PUBLIC).encode())
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/jwks.json"


class _Publish(BaseHTTPRequestHandler):
    server: _Issuer

    def do_GET(self) -> None:
        self.server.asked += 1
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Location", self.server.url)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class _Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[_Issuer]:
    with _Issuer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_keys_are_fetched_once_and_kept(issuer: _Issuer) -> None:
    tokens = _tokens(JwksCache(fetch_jwks(issuer.url)))
    for alg in KEYS:
        tokens.check(_sign(_claims(), alg))
    assert issuer.asked == 1


def test_an_unknown_key_is_looked_for_once_a_minute(issuer: _Issuer) -> None:
    time = _Time()
    cache = JwksCache(fetch_jwks(issuer.url), monotonic=time)
    assert cache.find("p256")
    for _ in range(20):
        assert cache.find("unknown") is None
    assert issuer.asked == 1
    time.now += 60
    assert cache.find("unknown") is None
    assert issuer.asked == 2


def test_a_rotated_key_is_found(issuer: _Issuer) -> None:
    time = _Time()
    cache = JwksCache(fetch_jwks(issuer.url), monotonic=time)
    cache.find("p256")
    fresh = ECKey.generate_key("P-256", {"kid": "fresh"})
    issuer.answer = (200, json.dumps({"keys": [fresh.as_dict(private=False)]}).encode())
    time.now += 60
    assert cache.find("fresh")
    assert cache.find("p256") is None  # withdrawn by the issuer


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (302, b""),
        (200, b"not json"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"keys": 7}'),
        (200, b" " * 1_048_577),
    ],
)
def test_a_failing_issuer_keeps_fresh_keys_and_then_shuts(
    issuer: _Issuer, answer: tuple[int, bytes]
) -> None:
    time = _Time()
    cache = JwksCache(fetch_jwks(issuer.url), keep_seconds=300, monotonic=time)
    cache.find("p256")
    issuer.answer = answer
    time.now += 61
    assert cache.find("unknown") is None
    assert cache.find("p256")
    time.now += 300
    with pytest.raises(AuthError) as caught:
        cache.find("p256")
    assert (caught.value.code, caught.value.status) == (AuthErrorCode.KEYS_UNAVAILABLE, 503)


def test_an_issuer_that_is_away_means_nobody_comes_in() -> None:
    with pytest.raises(AuthError, match="unavailable"):
        _tokens(JwksCache(fetch_jwks("http://127.0.0.1:9/jwks"))).check(_sign(_claims()))


def test_junk_among_the_keys_is_passed_over() -> None:
    junk = [None, 7, {}, {"kid": 7}, {"kid": "x", "kty": "oct", "k": "AA"}]
    cache = JwksCache(lambda: {"keys": [*junk, *PUBLIC["keys"]]})
    assert cache.find("p256")
    assert cache.find("x") is None
