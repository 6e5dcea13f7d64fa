"""Two services with keys, policies and databases of their own, over HTTP: there, on, and back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from receive_places import Place, opened, reading
from support.issuer import serving

from privacy.signing import VerificationKeys
from service.app import create_app
from service.auth import Access, Principal, Role
from service.auth.principals import ROLE_SCOPES, Kind
from service.portable.sphr import open_package
from service.wsgi import assembled, received
from twin_engine.document import MEDIA_TYPE, Twin
from twin_engine.document import read as read_twin
from twin_engine.models.assess import recompute

PACKAGE = "application/zip"


@dataclass(frozen=True)
class Clinic:
    """A running service. Whoever calls it has its address and a key, and nothing else of it."""

    place: Place
    base: str

    def call(self, role: Role, method: str, path: str, **more: Any) -> requests.Response:
        runtime = self.place.runtime
        access = Access.build(runtime.config, runtime.database, runtime.keys.session.material)
        twin = more.pop("twin", None)
        key = access.api_keys.issue(role, label="test", twin=twin).text
        headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
        url = f"{self.base}/api/v1/{path}"
        return requests.request(method, url, headers=headers, timeout=600, **more)

    def hand_over(self, content: bytes, media_type: str) -> requests.Response:
        return self.call(
            Role.EHR, "POST", "received", data=content, headers={"Content-Type": media_type}
        )

    def keys(self) -> VerificationKeys:
        """As anybody reads them."""
        answer = requests.get(f"{self.base}/.well-known/jwks.json", timeout=600)
        return VerificationKeys(answer.json())


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Clinic]:
    """`settings`: beside where it lives; the database is the embedded one unless they say."""
    there = opened({"TWINPORT_HOME": str(folder), **settings})
    app = create_app(
        there.runtime.config, assembled(there.runtime), pages=[received(there.runtime)]
    )
    with serving(app) as base:
        yield Clinic(there, base)
    there.runtime.close()


@pytest.fixture
def clinics(tmp_path: Path, database_url: str) -> Iterator[tuple[Clinic, Clinic]]:
    """B keeps its own in PostgreSQL where there is one."""
    with ExitStack() as stack:
        a = stack.enter_context(running(tmp_path / "a"))
        b = stack.enter_context(
            running(
                tmp_path / "b",
                TWINPORT_DATABASE__URL=database_url,
                TWINPORT_POLICY__DEFAULT="relative-minutes",
            )
        )
        yield a, b


def test_a_twin_goes_from_one_service_to_another_and_back_as_a_new_version(
    clinics: tuple[Clinic, Clinic],
) -> None:
    a, b = clinics
    first = a.place.twin()
    twin = first.twin.id

    # A → the patient → B, which takes it once it trusts A.
    mine = a.call(Role.PATIENT, "GET", f"twins/{twin}", twin=twin).content
    refused = b.hand_over(mine, MEDIA_TYPE)
    assert (refused.status_code, refused.headers["Content-Type"]) == (
        422,
        "application/problem+json",
    )
    assert "signed by a key that is not trusted here" in refused.json()["detail"]
    b.place.trust("clinic-a", a.place)
    taken = b.hand_over(mine, MEDIA_TYPE)
    assert taken.status_code == 201, taken.text
    assert (taken.json()["issuer"], taken.json()["new"]) == ("clinic-a", True)
    again = b.hand_over(mine, MEDIA_TYPE)
    assert (again.status_code, again.json()["new"]) == (200, False)

    # Recomputed at B with identical numbers.
    held = b.call(Role.EHR, "GET", f"received/{twin}").content
    assert held == mine
    assert {(one.outcome, one.largest) for one in recompute(_twin(held).document)} == {
        ("same", 0.0)
    }

    # Extended with B's data, which B knows under another policy and its own epoch.
    own = b.place.twin(
        reading("bp-b", "8480-6", "2026-03-14", 128, "mm[Hg]"), policy="relative-minutes"
    )
    assert own.twin.document["twin"]["policy"]["id"] == "relative-minutes"
    path, wish = f"received/{twin}/continuation", {"local": own.twin.id, "days": 12}
    made = b.call(Role.EHR, "POST", path, json=wish)
    assert made.status_code == 201, made.text
    assert made.json() == {"twin": twin, "version": 2, "added": 1, "duplicates": 2}
    packed = b.call(Role.EHR, "GET", f"received/{twin}/package")
    assert packed.headers["Content-Type"] == PACKAGE
    package = open_package(packed.content, b.keys())
    ledger = [orjson.loads(line)["entry"] for line in package.parts["ledger.jsonl"].splitlines()]
    (entry,) = (one for one in ledger if one["event"] == "twin-extended")
    assert entry["gate"]["passed"] is True

    # Back to A: a new version with lineage, by B, beside A's own.
    assert a.hand_over(packed.content, PACKAGE).status_code == 422
    a.place.trust("clinic-b", b.place)
    back = a.hand_over(packed.content, PACKAGE)
    assert back.status_code == 201, back.text
    assert (back.json()["issuer"], back.json()["follows"], back.json()["followsOurs"]) == (
        *("clinic-b", 1),
        True,
    )
    document = package.twin.document
    assert package.twin.parent == first.twin.digest
    assert document["signals"]["systolic-bp"]["v"] == [142, 128]
    moments = document["signals"]["systolic-bp"]["t"]
    assert moments[1] - moments[0] == 12
    assert {one.outcome for one in recompute(document)} == {"same"}
    newest = a.call(Role.EHR, "GET", f"twins/{twin}").content
    assert newest == mine, "our own twin is what it was"
    listed = a.call(Role.EHR, "GET", "received").json()["items"]
    assert [(one["version"], one["issuer"]) for one in listed] == [(2, "clinic-b")]


def _twin(file: bytes) -> Twin:
    payload = file[len(b'{"twin":') : file.rindex(b',"proof":')]
    return read_twin(payload)


def test_each_refusal_is_one_problem_and_changes_nothing(clinics: tuple[Clinic, Clinic]) -> None:
    a, b = clinics
    b.place.trust("clinic-a", a.place)
    mine = a.place.twin()
    for content, media_type, status, told in (
        (b"{}", MEDIA_TYPE, 422, "Not verified: "),
        (b"PK\x03\x04", PACKAGE, 422, "Not verified: "),
        (mine.file.replace(b'"sex"', b'"sax"'), MEDIA_TYPE, 422, "Not verified: "),
        (b"eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA", "application/octet-stream", 422, "encrypted"),
        (b"shlink:/eyJ1cmwiOiJodHRwOi8vMTI3LjAuMC4xIn0", "text/plain", 415, "Send a twin file"),
        (b" " * 10_485_761, MEDIA_TYPE, 413, ""),
    ):
        answer = b.hand_over(content, media_type)
        assert answer.status_code == status, answer.text
        assert told in answer.json()["detail"]
    for method, path, status in (
        ("GET", f"received/{mine.twin.id}", 404),
        ("GET", f"received/{mine.twin.id}/package", 404),
        ("GET", "received?all=1", 422),
    ):
        assert b.call(Role.EHR, method, path).status_code == status
    own = b.place.twin(policy="relative-minutes")
    path = f"received/{mine.twin.id}/continuation"
    for body, status in (
        ({"local": own.twin.id, "days": 1}, 404),
        ({"local": own.twin.id, "days": -1}, 422),
        ({"local": "somebody", "days": 1}, 422),
        ({}, 422),
    ):
        assert b.call(Role.EHR, "POST", path, json=body).status_code == status
    b.place.runtime.consents.decide(_patient(own.twin.id), own.twin.id, "care", allowed=False)
    refused = b.call(Role.EHR, "POST", path, json={"local": own.twin.id, "days": 1})
    assert (refused.status_code, refused.json()["type"]) == (403, "/docs#problem-not-consented")
    assert b.call(Role.EHR, "GET", "received").json()["items"] == []


def _patient(twin: str) -> Principal:
    return Principal(Role.PATIENT, ROLE_SCOPES[Role.PATIENT], "patient", Kind.SESSION, twin)


def test_clinics_alone_take_in_and_every_route_is_described(
    clinics: tuple[Clinic, Clinic],
) -> None:
    clinic = clinics[0]
    for role in Role:
        twin = "A" * 22 if role is Role.PATIENT else None
        answer = clinic.call(role, "GET", "received", twin=twin)
        assert answer.status_code == (200 if role is Role.EHR else 403)
    runtime = clinic.place.runtime
    access = Access.build(runtime.config, runtime.database, runtime.keys.session.material)
    key = access.api_keys.issue(Role.EHR, label="test").text
    headers = {"Authorization": f"Bearer {key}"}
    found = requests.get(f"{clinic.base}/openapi.json", headers=headers, timeout=600).json()
    described = {path: set(item) for path, item in found["paths"].items() if "/received" in path}
    assert described == {
        "/api/v1/received": {"get", "post"},
        "/api/v1/received/{pseudonym}": {"get"},
        "/api/v1/received/{pseudonym}/continuation": {"post"},
        "/api/v1/received/{pseudonym}/package": {"get"},
    }
    taken = found["paths"]["/api/v1/received"]["post"]
    assert {"200", "201", "413", "415", "422"} <= set(taken["responses"])
    assert set(taken["requestBody"]["content"]) == {
        *("application/vnd.twinport.twin+json", PACKAGE, "application/octet-stream"),
    }
