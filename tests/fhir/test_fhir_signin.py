"""SMART Backend Services against a token endpoint that checks what it is sent."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fhir_servers import ScriptedServer, client_for, fhir, outcome
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from structlog.testing import capture_logs
from werkzeug import Request, Response

from service.config.sections import ServerAuth
from service.fhir.client_keys import load_key, load_keys, public_jwks, published, rotated
from service.fhir.errors import FhirError, NotFhir, SetupError, SignInRefused, UnsafeAddress
from service.fhir.pull import pull_patient

PATIENT = {"resourceType": "Patient", "id": "p1"}


@dataclass
class TokenServer:
    """Hands out numbered tokens to well-signed assertions; FHIR wants the newest one."""

    server: ScriptedServer
    key: RSAKey | ECKey
    life: Any = 300
    seen: set[str] = field(default_factory=set)
    issued: int = 0
    bare_400: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def token(self, request: Request) -> Response:
        with self.lock:
            if self.bare_400:
                self.bare_400 -= 1
                return Response("", 400)
            form = request.form
            assert form["grant_type"] == "client_credentials"
            assert form["scope"] == "system/*.rs"
            assert form["client_assertion_type"].endswith(":jwt-bearer")
            assert "Authorization" not in request.headers
            claims = self.verified(form["client_assertion"])
            assert claims["iss"] == claims["sub"] == "client-1"
            assert claims["aud"] == f"{self.server.base}/token"
            assert claims["exp"] - claims["iat"] <= 300
            assert claims["jti"] not in self.seen
            self.seen.add(claims["jti"])
            self.issued += 1
            return Response(
                json.dumps(
                    {
                        "access_token": f"t{self.issued}",
                        "token_type": "bearer",
                        "expires_in": self.life,
                    }
                )
            )

    def verified(self, assertion: str) -> dict[str, Any]:
        algorithm = "ES384" if isinstance(self.key, ECKey) else "RS384"
        token = jwt.decode(assertion, self.key, algorithms=[algorithm])
        assert token.header["typ"] == "JWT"
        assert token.header["kid"] == self.key.thumbprint()
        return dict(token.claims)

    def patient(self, request: Request) -> Response:
        if request.headers.get("Authorization") == f"Bearer t{self.issued}":
            return fhir(PATIENT)
        return fhir(outcome("expired"), 401)


@cache
def made_key(algorithm: str) -> RSAKey | ECKey:
    return RSAKey.generate_key(2048) if algorithm == "RS384" else ECKey.generate_key("P-384")


@pytest.fixture(params=["RS384", "ES384"])
def tokens(
    request: pytest.FixtureRequest, scripted: ScriptedServer, tmp_path: Path
) -> Iterator[TokenServer]:
    key = made_key(request.param)
    (tmp_path / "key.pem").write_bytes(key.as_pem(private=True))
    (tmp_path / "key.json").write_text(json.dumps(key.as_dict(private=True)))
    made = TokenServer(scripted, key)
    configuration = json.dumps({"token_endpoint": f"{scripted.base}/token"})
    scripted.on(".well-known/smart-configuration", Response(configuration))
    scripted.on("token", made.token)
    scripted.on("Patient/p1", made.patient)
    return made


def auth(tmp_path: Path, name: str = "key.pem", **more: Any) -> dict[str, Any]:
    return {
        "kind": "smart-backend",
        "client_id": "client-1",
        "key_file": str(tmp_path / name),
        "scopes": ("system/*.rs",),
        **more,
    }


@pytest.mark.parametrize("name", ["key.pem", "key.json"])
def test_signs_in_once_and_keeps_the_token(tokens: TokenServer, tmp_path: Path, name: str) -> None:
    with client_for(tokens.server.base, auth=auth(tmp_path, name)) as client:
        for _ in range(3):
            assert client.read("Patient", "p1").resource == PATIENT
    assert tokens.issued == 1


def test_one_flight_for_many_threads(tokens: TokenServer, tmp_path: Path) -> None:
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
        threads = [threading.Thread(target=client.read, args=("Patient", "p1")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert tokens.issued == 1


def test_a_token_about_to_expire_is_renewed_before_use(tokens: TokenServer, tmp_path: Path) -> None:
    tokens.life = 31  # one second of use before the 30 kept in reserve
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
        client.read("Patient", "p1")
        threading.Event().wait(1.1)
        client.read("Patient", "p1")
    assert tokens.issued == 2


def test_a_401_is_answered_with_one_new_token(tokens: TokenServer, tmp_path: Path) -> None:
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
        client.read("Patient", "p1")
        tokens.issued += 1  # the server has withdrawn the token
        assert client.read("Patient", "p1").resource == PATIENT
        tokens.server.on("Patient/p1", fhir(outcome("login"), 401))
        before = len(tokens.server.asked("Patient/p1"))
        with pytest.raises(SignInRefused):
            client.read("Patient", "p1")
        assert len(tokens.server.asked("Patient/p1")) - before == 2


def test_a_bare_400_is_tried_once_more_when_it_worked_before(
    tokens: TokenServer, tmp_path: Path
) -> None:
    """Epic gives one now and then, also to the next run of the same process."""
    tokens.bare_400 = 1
    with (
        client_for(tokens.server.base, auth=auth(tmp_path)) as client,
        pytest.raises(SignInRefused),
    ):
        client.read("Patient", "p1")
    for _ in range(2):
        with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
            client.read("Patient", "p1")
            tokens.issued += 1
            tokens.bare_400 = 1
            assert client.read("Patient", "p1").resource == PATIENT


def test_runs_of_a_process_share_a_token_and_another_client_does_not(
    tokens: TokenServer, tmp_path: Path
) -> None:
    for _ in range(2):
        with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
            client.read("Patient", "p1")
    assert tokens.issued == 1
    with (
        client_for(tokens.server.base, auth=auth(tmp_path, client_id="other")) as client,
        pytest.raises(FhirError),
    ):
        client.read("Patient", "p1")  # asks for a token of its own, which is not given


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_token_endpoint_that_fails_for_a_moment_is_asked_again(
    tokens: TokenServer, tmp_path: Path, status: int
) -> None:
    busy = Response("<html>", status, {"Retry-After": "0"})
    tokens.server.on("token", busy, busy, tokens.token)
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
        assert client.read("Patient", "p1").resource == PATIENT
    assert len(tokens.server.asked("token")) == 3


ANSWERS: list[tuple[Response, type[FhirError]]] = [
    (Response('{"error": "invalid_client"}', 401), SignInRefused),
    (Response('{"access_token": "x", "token_type": "mac"}'), SignInRefused),
    (Response('{"token_type": "bearer"}'), SignInRefused),
    (Response("<html>", 200), NotFhir),
    (Response("", 503), NotFhir),
]


@pytest.mark.parametrize(("answer", "error"), ANSWERS)
def test_what_the_token_endpoint_may_answer(
    tokens: TokenServer, tmp_path: Path, answer: Response, error: type[FhirError]
) -> None:
    tokens.server.on("token", answer)
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client, pytest.raises(error):
        client.read("Patient", "p1")


def test_a_discovered_endpoint_elsewhere_must_be_public(
    tokens: TokenServer, tmp_path: Path
) -> None:
    with ScriptedServer() as stranger:
        found = json.dumps({"token_endpoint": f"{stranger.base}/token"})
        tokens.server.on(".well-known/smart-configuration", Response(found))
        with (
            client_for(tokens.server.base, auth=auth(tmp_path)) as client,
            pytest.raises(UnsafeAddress),
        ):
            client.read("Patient", "p1")
        assert stranger.requests == []


@pytest.mark.parametrize("content", [b"", b"{}", b"-----BEGIN", b'{"kty": "oct", "k": "YQ"}'])
def test_a_key_that_cannot_sign_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(SetupError, match="private RSA or P-384"):
        load_key(str(path))
    with pytest.raises(SetupError):
        load_key(str(tmp_path / "missing"))


def test_a_public_key_or_another_curve_is_refused(tmp_path: Path) -> None:
    for name, key, private in (
        ("public", made_key("RS384"), False),
        ("curve", ECKey.generate_key("P-256"), True),
    ):
        (tmp_path / name).write_text(json.dumps(key.as_dict(private=private)))
        with pytest.raises(SetupError, match="private RSA or P-384"):
            load_key(str(tmp_path / name))


def test_scopes_of_version_1_are_tried_where_those_of_version_2_are_refused(
    tokens: TokenServer, tmp_path: Path
) -> None:
    asked: list[str] = []

    def old(request: Request) -> Response:
        asked.append(request.form["scope"])
        if ".rs" in request.form["scope"]:
            return Response(json.dumps({"error": "invalid_scope"}), 400)
        tokens.issued += 1
        answer = {"access_token": f"t{tokens.issued}", "token_type": "Bearer", "scope": asked[-1]}
        return Response(json.dumps(answer))

    tokens.server.on("token", old)
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
        assert client.sign_in() == ("system/*.read",)
        assert client.read("Patient", "p1").resource == PATIENT
        tokens.issued += 1  # withdrawn: the next token is asked for in the words that worked
        client.read("Patient", "p1")
    assert asked == ["system/*.rs", "system/*.read", "system/*.read"]


def test_the_public_half_of_a_key_holds_nothing_private(
    tokens: TokenServer, tmp_path: Path
) -> None:
    (public,) = public_jwks(str(tmp_path / "key.pem"))
    assert not public.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}
    assert public["kid"] == tokens.key.thumbprint()
    assert (public["use"], public["alg"][2:]) == ("sig", "384")


def test_a_server_that_says_it_knows_version_1_only_is_asked_in_it(
    tokens: TokenServer, tmp_path: Path
) -> None:
    found = {
        "token_endpoint": "token",  # relative: some servers write it so
        "capabilities": ["client-confidential-asymmetric", "permission-v1"],
    }
    tokens.server.on(".well-known/smart-configuration", Response(json.dumps(found)))
    asked: list[str] = []

    def token(request: Request) -> Response:
        asked.append(request.form["scope"])
        tokens.issued += 1
        return Response(json.dumps({"access_token": "t1", "token_type": "bearer"}))

    tokens.server.on("token", token)
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
        assert client.read("Patient", "p1").resource == PATIENT
    assert asked == ["system/*.read"]


# -- what is granted -------------------------------------------------------------------------------


def granting(tokens: TokenServer, scope: str | None) -> None:
    def token(request: Request) -> Response:
        tokens.issued += 1
        answer = {"access_token": f"t{tokens.issued}", "token_type": "bearer"}
        return Response(json.dumps(answer | ({"scope": scope} if scope is not None else {})))

    tokens.server.on("token", token)


@pytest.mark.parametrize(
    ("scope", "complete"),
    [
        (None, {"Observation", "Condition"}),
        ("openid fhirUser", {"Observation", "Condition"}),  # says nothing of resources
        ("system/*.rs", {"Observation", "Condition"}),
        ("system/*.read", {"Observation", "Condition"}),
        ("system/Patient.rs system/Condition.rs", {"Condition"}),
        ("system/Condition.r system/Condition.s system/Observation.r", {"Condition"}),
        ("system/Condition.rs system/Observation.rs?category=laboratory", {"Condition"}),
        ("user/Observation.read patient/Condition.rs", {"Observation", "Condition"}),
    ],
)
def test_a_type_that_is_not_granted_is_never_called_complete(
    tokens: TokenServer, tmp_path: Path, scope: str | None, complete: set[str]
) -> None:
    """The server answers its search with nothing: that proves nothing without the scope."""
    granting(tokens, scope)
    with client_for(tokens.server.base, auth=auth(tmp_path)) as client:
        pulled = pull_patient(client, "p1", ["Observation", "Condition"])
    slices = {s["type"]: s for s in pulled.completeness["slices"][1:3]}
    assert {name for name, s in slices.items() if s["verdict"] == "complete"} == complete
    lacking = [s for s in slices.values() if s["verdict"] != "complete"]
    assert {(s["verdict"], s["reason"]) for s in lacking} <= {("partial", "not-granted")}


# -- changing a key --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["key.pem", "key.json"])
def test_a_key_is_changed_in_two_steps(tokens: TokenServer, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    old = public_jwks(str(path))
    content, signs = rotated(str(path))
    path.write_bytes(content)
    both = public_jwks(str(path))
    assert (both[0], signs, len(both)) == (old[0], False, 2)
    assert both[0]["alg"] == both[1]["alg"]
    with client_for(tokens.server.base, auth=auth(tmp_path, name)) as client:
        assert client.read("Patient", "p1").resource == PATIENT  # the old one signs
    content, signs = rotated(str(path))
    path.write_bytes(content)
    assert (public_jwks(str(path)), signs) == ([both[1]], True)
    assert load_keys(str(path))[0].is_private


def test_the_published_set_holds_every_key_once(tokens: TokenServer, tmp_path: Path) -> None:
    auths = [ServerAuth(**auth(tmp_path)), ServerAuth(**auth(tmp_path, "key.json")), ServerAuth()]
    assert published(auths) == {"keys": public_jwks(str(tmp_path / "key.pem"))}


def test_an_unreadable_key_file_costs_the_published_set_its_own_keys_alone(
    tokens: TokenServer, tmp_path: Path
) -> None:
    sound, gone = ServerAuth(**auth(tmp_path)), ServerAuth(**auth(tmp_path, "nowhere.json"))
    (tmp_path / "nowhere.json").unlink(missing_ok=True)
    with capture_logs() as logged:
        assert published([gone, sound], lenient=True) == published([sound])
    assert logged == [
        {
            "event": "client-keys-unreadable",
            "log_level": "warning",
            "setting": "auth.key_file",
            "files": 1,
        }
    ]
    with pytest.raises(SetupError):  # the command line hands out no half set
        published([gone, sound])
