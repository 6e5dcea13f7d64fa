"""Bad tokens: each is refused with the same 401, and none makes us fetch anything."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cds_client import ISSUER, PUBLIC, Ehr
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from service.cds.tokens import TokenRefusedError, Tokens
from service.pipeline.runtime import Runtime
from service.stores.cds import CdsStore

PATH = "/cds-services/twinport-patient-view"
Forge = Callable[[Ehr], str]


def raw(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def by_secret(ehr: Ehr) -> str:
    """HMAC with the public key's bytes as its secret."""
    secret = OctKey.import_key(json.dumps(ehr.key.as_dict(private=False)).encode())
    head = {"alg": "HS256", "typ": "JWT", "kid": ehr.key.kid}
    return jwt.encode(head, ehr.claims(PATH), secret, algorithms=["HS256"])


def by_another_key(ehr: Ehr) -> str:
    other = ECKey.generate_key("P-384", {"kid": ehr.key.kid})
    return Ehr(ehr.http, ehr.sandbox, other).token(PATH)


def by_an_rsa_key(ehr: Ehr) -> str:
    other = RSAKey.generate_key(2048, {"kid": ehr.key.kid})
    return Ehr(ehr.http, ehr.sandbox, other, "RS384").token(PATH)


def changed_afterwards(ehr: Ehr) -> str:
    head, _, signature = ehr.token(PATH).split(".")
    body = raw({}, {**ehr.claims(PATH), "iss": ISSUER}).split(".")[1]
    return f"{head}.{body}.{signature}"


def now() -> int:
    return int(time.time())


BAD: dict[str, Forge] = {
    "nothing at all": lambda _: "",
    "not a token": lambda _: "abc",
    "alg none": lambda ehr: raw(
        {"alg": "none", "kid": ehr.key.kid, "typ": "JWT"}, ehr.claims(PATH)
    ),
    "HMAC by the public key": by_secret,
    "another key": by_another_key,
    "another kind of key": by_an_rsa_key,
    "changed afterwards": changed_afterwards,
    "unknown issuer": lambda ehr: ehr.token(PATH, iss="https://evil.example.org"),
    "no issuer": lambda ehr: ehr.token(PATH, iss=None),
    "a foreign jku": lambda ehr: ehr.token(PATH, {"jku": "https://evil.example.org/jwks"}),
    "no kid": lambda ehr: ehr.token(PATH, {"kid": None}),
    "an unknown kid": lambda ehr: ehr.token(PATH, {"kid": "ehr-2"}),
    "another typ": lambda ehr: ehr.token(PATH, {"typ": "at+jwt"}),
    "another audience": lambda ehr: ehr.token(PATH, aud="https://other.example.org"),
    "another route's audience": lambda ehr: ehr.token("/cds-services"),
    "no audience": lambda ehr: ehr.token(PATH, aud=None),
    "expired": lambda ehr: ehr.token(PATH, iat=now() - 600, exp=now() - 300),
    "no end": lambda ehr: ehr.token(PATH, exp=None),
    "a long life": lambda ehr: ehr.token(PATH, exp=now() + 100_000),
    "issued tomorrow": lambda ehr: ehr.token(PATH, iat=now() + 86_400, exp=now() + 86_500),
    "not yet": lambda ehr: ehr.token(PATH, nbf=now() + 600),
    "a time that is no number": lambda ehr: ehr.token(PATH, iat="now"),
    "no id of its own": lambda ehr: ehr.token(PATH, jti=None),
    "very long": lambda ehr: ehr.token(PATH, note="x" * 20_000),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_one_and_the_same_refusal(ehr: Ehr, name: str) -> None:
    answer = ehr.post(PATH, {}, BAD[name](ehr) or " ")
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    said = {k: v for k, v in answer.get_json().items() if k != "instance"}
    assert said == {
        "type": "/docs#problem-sign-in-refused",
        "title": "The sign-in was not accepted",
        "status": 401,
        "detail": "Get a new key, token or one-time code.",
    }


def test_a_token_is_good_once(ehr: Ehr) -> None:
    token = ehr.token(PATH)
    assert ehr.post(PATH, {}, token).status_code == 400  # past the token: the body is at fault
    assert ehr.post(PATH, {}, token).status_code == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["https://other.example.org", f"{PUBLIC}{PATH}"]},
        {"nbf": 0, "sub": "client"},
        {"tenant": "2ddd6c3a"},
    ],
)
def test_what_the_specification_allows_is_taken(ehr: Ehr, changed: dict[str, Any]) -> None:
    assert ehr.post(PATH, {}, ehr.token(PATH, **changed)).status_code == 400


def test_discovery_refuses_a_bad_token_and_needs_none(ehr: Ehr) -> None:
    path = "/cds-services"
    assert ehr.http.get(path).status_code == 200
    good = {"Authorization": f"Bearer {ehr.token(path)}"}
    assert ehr.http.get(path, headers=good).status_code == 200
    bad = {"Authorization": f"Bearer {ehr.token(PATH)}"}
    assert ehr.http.get(path, headers=bad).status_code == 401


def test_an_api_key_opens_nothing_here(ehr: Ehr) -> None:
    assert ehr.post(PATH, {}, "tpk_abc_def").status_code == 401


# -- nobody is asked for a key before it is known whose it is -------------------------------------


class Keys(ThreadingHTTPServer):
    """Publishes the EHR's keys, and counts who asks."""

    def __init__(self, key: ECKey) -> None:
        super().__init__(("127.0.0.1", 0), _Publish)
        self.body = json.dumps({"keys": [key.as_dict(private=False)]}).encode()
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Publish(BaseHTTPRequestHandler):
    server: Keys

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def published(key: ECKey) -> Iterator[Keys]:
    with Keys(key) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tokens(published: Keys, runtime: Runtime) -> Tokens:
    ehr = runtime.config.servers["ehr"]
    cds = replace(ehr.cds, jwks_file="", jwks_url=published.url("/jwks.json"))
    return Tokens({"ehr": replace(ehr, cds=cds)}, CdsStore(runtime.database))


UNASKED = ("nothing at all", "not a token", "alg none", "HMAC by the public key", "unknown issuer",
           "no issuer", "a foreign jku", "no kid", "another typ")  # fmt: skip


def test_no_key_is_fetched_before_issuer_and_address_are_known(
    ehr: Ehr, published: Keys, tokens: Tokens
) -> None:
    audience = f"{PUBLIC}{PATH}"
    forged = [BAD[name](ehr) for name in UNASKED]
    forged.append(ehr.token(PATH, {"jku": published.url("/elsewhere.json")}))
    for token in forged:
        with pytest.raises(TokenRefusedError):
            tokens.check(f"Bearer {token}", [audience])
    assert published.asked == []
    named = ehr.token(PATH, {"jku": published.url("/jwks.json")})
    assert tokens.check(f"Bearer {named}", [audience]).server == "ehr"
    assert published.asked == ["/jwks.json"]
