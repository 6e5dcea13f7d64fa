"""Bulk Data export of the sandbox, as a client of the guide sees it, over real HTTP."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from service.sandbox.export import Manners
from service.sandbox.persona import Persona, Settings
from service.sandbox.personas import PERSONAS
from service.sandbox.testing import RunningSandbox, population, running_sandbox

ASYNC = {"Accept": "application/fhir+json", "Prefer": "respond-async"}
Json = dict[str, Any]


class Exporting(Persona):
    """The plain server with other manners of exporting."""

    def __init__(self, **changes: Any) -> None:
        self.exports = replace(Manners(retry_after="0"), **changes)


@pytest.fixture
def open_server() -> Iterator[RunningSandbox]:
    with running_sandbox(population()[:3], persona=Exporting()) as sandbox:
        yield sandbox


def kick_off(sandbox: RunningSandbox, path: str = "$export", **more: Any) -> requests.Response:
    headers = ASYNC | more.pop("headers", {})
    return requests.get(f"{sandbox.base_url}/{path}", headers=headers, params=more, timeout=120)


def post(sandbox: RunningSandbox, path: str, *parameters: tuple[str, str, Any], **headers: str):
    listed = [{"name": name, f"value{kind}": value} for name, kind, value in parameters]
    body = {"resourceType": "Parameters", "parameter": listed}
    url = f"{sandbox.base_url}/{path}"
    return requests.post(url, headers=ASYNC | headers, json=body, timeout=120)


def manifest(started: requests.Response, **headers: str) -> Json:
    assert started.status_code == 202, started.text
    url = started.headers["Content-Location"]
    while (answer := requests.get(url, headers=headers, timeout=120)).status_code == 202:
        assert answer.headers["X-Progress"]
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def rows(found: Json, section: str = "output", **headers: str) -> list[Json]:
    lines = []
    for item in found[section]:
        answer = requests.get(item["url"], headers=headers, timeout=120)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/fhir+ndjson"
        lines += [json.loads(line) for line in answer.text.splitlines()]
        assert len(answer.text.splitlines()) == item["count"]
    return lines


def refused(answer: requests.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (status, code)


def test_both_dialects_give_the_same(open_server: RunningSandbox) -> None:
    one = manifest(kick_off(open_server, "Patient/$export", _type="Condition,Patient"))
    two = manifest(
        post(
            open_server,
            "Patient/$export",
            ("_type", "String", "Condition"),
            ("_type", "String", "Patient"),
        )
    )
    assert rows(one) == rows(two)
    assert {r["resourceType"] for r in rows(one)} == {"Patient", "Condition"}
    assert one["requiresAccessToken"] is True
    assert (one["deleted"], one["error"]) == ([], [])


def test_the_levels_hold_what_they_promise(open_server: RunningSandbox) -> None:
    store = open_server.store
    everything = rows(manifest(kick_off(open_server)))
    assert len(everything) == sum(store.counts().values())
    of_patients = rows(manifest(kick_off(open_server, "Patient/$export")))
    assert "Group" not in {r["resourceType"] for r in of_patients}
    store.load([{"resourceType": "Group", "id": "one", "member": [_member("demo-002")]}])
    only = rows(manifest(kick_off(open_server, "Group/one/$export", _type="Patient,Medication")))
    patients = [r["id"] for r in only if r["resourceType"] == "Patient"]
    assert patients == ["demo-002"]
    chosen = ("patient", "Reference", {"reference": "Patient/demo-003"})
    some = rows(manifest(post(open_server, "Group/everyone/$export", chosen)))
    assert [r["id"] for r in some if r["resourceType"] == "Patient"] == ["demo-003"]
    refused(kick_off(open_server, "Group/nobody/$export"), 404, "not-found")


def _member(patient: str) -> Json:
    return {"entity": {"reference": f"Patient/{patient}"}}


def test_since_gives_what_changed_and_what_was_deleted(open_server: RunningSandbox) -> None:
    before = manifest(kick_off(open_server))["transactionTime"]
    old, gone = open_server.resources("Condition")[:2]
    open_server.store.put("Condition", old["id"], old)
    open_server.store.delete("Condition", gone["id"])
    found = manifest(kick_off(open_server, _since=before))
    assert [r["id"] for r in rows(found)] == [old["id"]]
    (line,) = rows(found, "deleted")
    assert line["type"] == "transaction"
    request = {"method": "DELETE", "url": f"Condition/{gone['id']}"}
    assert line["entry"] == [{"request": request}]
    assert manifest(kick_off(open_server, _since="2999-01-01T00:00:00Z"))["output"] == []


BAD = [
    ({"_outputFormat": "text/csv"}, 400, "value"),
    ({"_type": "Nonsense"}, 400, "value"),
    ({"_since": "yesterday"}, 400, "value"),
    ({"_elements": "id"}, 400, "not-supported"),
    ({"headers": {"Prefer": "return=minimal"}}, 400, "required"),
    ({"headers": {"Accept": "text/html"}}, 406, "not-supported"),
]


@pytest.mark.parametrize(("asked", "status", "code"), BAD)
def test_what_cannot_be_done_is_refused(
    open_server: RunningSandbox, asked: Json, status: int, code: str
) -> None:
    refused(kick_off(open_server, **asked), status, code)


def test_a_lenient_client_gets_a_note_on_what_was_ignored(open_server: RunningSandbox) -> None:
    lenient = {"Prefer": "respond-async, handling=lenient"}
    found = manifest(kick_off(open_server, headers=lenient, _elements="id", _type="Patient"))
    (note,) = rows(found, "error")
    assert note["issue"][0]["severity"] == "warning"


@pytest.mark.parametrize("name", ["application/fhir+ndjson", "application/ndjson", "ndjson"])
def test_the_format_has_three_names(open_server: RunningSandbox, name: str) -> None:
    assert kick_off(open_server, _outputFormat=name).status_code == 202


def test_files_are_packed_only_where_that_is_understood(open_server: RunningSandbox) -> None:
    (item,) = manifest(kick_off(open_server, _type="Patient"))["output"]
    plain = requests.get(item["url"], headers={"Accept-Encoding": ""}, timeout=120)
    packed = requests.get(item["url"], headers={"Accept-Encoding": "gzip"}, timeout=120)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.content == packed.content


def test_a_job_belongs_to_its_client_and_ends_with_a_delete() -> None:
    settings = Settings(bearer_token="right")
    with running_sandbox(population()[:1], persona=Exporting(), settings=settings) as sandbox:
        mine = {"Authorization": "Bearer right"}
        started = kick_off(sandbox, headers=mine)
        url = started.headers["Content-Location"]
        item = manifest(started, **mine)["output"][0]
        for address in (url, item["url"]):
            assert requests.get(address, timeout=120).status_code == 401
        assert requests.delete(url, headers=mine, timeout=120).status_code == 202
        for address in (url, item["url"]):
            assert requests.get(address, headers=mine, timeout=120).status_code == 404


def test_another_client_finds_nothing(open_server: RunningSandbox) -> None:
    started = kick_off(open_server)
    other = {"Authorization": "Basic bWU6bWU="}
    url = started.headers["Content-Location"]
    assert requests.get(url, headers=other, timeout=120).status_code == 404


def test_signed_links_lead_elsewhere_and_take_no_token() -> None:
    with running_sandbox(population()[:1], persona=Exporting(token_for_files=False)) as sandbox:
        started = kick_off(sandbox, _type="Patient")
        found = manifest(started)
        url = found["output"][0]["url"]
        assert found["requiresAccessToken"] is False
        assert urlsplit(url).netloc != urlsplit(sandbox.base_url).netloc
        assert len(rows(found)) == 1
        token = {"Authorization": "Bearer x"}
        assert requests.get(url, headers=token, timeout=120).status_code == 400
        sandbox.inside.exports.expire_links()
        assert requests.get(url, timeout=120).status_code == 403
        assert len(rows(manifest(started))) == 1


def test_version_4_posts_and_repeats() -> None:
    with running_sandbox(population()[:1], persona=Exporting(guide="4.0.0")) as sandbox:
        refused(kick_off(sandbox, _type="Patient"), 405, "not-supported")
        commas = ("_type", "String", "Patient,Condition")
        refused(post(sandbox, "$export", commas), 400, "value")
        found = manifest(post(sandbox, "$export", ("_type", "String", "Patient")))
        assert "request" not in found
        assert found["outcome"] == found["extension"] == []


def test_one_resource_a_file_and_paged_manifests() -> None:
    manners = Exporting(lines_per_file=1, files_per_manifest=50)
    with running_sandbox(population()[:1], persona=manners) as sandbox:
        whole = manifest(kick_off(sandbox, _type="Observation"))
        assert {item["count"] for item in whole["output"]} == {1}
        found = manifest(kick_off(sandbox, _type="Observation", allowPartialManifests="true"))
        urls = [item["url"] for item in found["output"]]
        while "link" in found:
            found = requests.get(found["link"][0]["url"], timeout=120).json()
            urls += [item["url"] for item in found["output"]]
        assert len(urls) == len(set(urls)) == len(whole["output"]) > 50


@pytest.mark.parametrize(
    ("manners", "freed"), [(Exporting(), True), (Exporting(held_until_deleted=True), False)]
)
def test_so_many_jobs_at_once(manners: Exporting, freed: bool) -> None:
    manners.exports = replace(manners.exports, jobs_per_client=1)
    with running_sandbox(population()[:1], persona=manners) as sandbox:
        first = kick_off(sandbox)
        again = kick_off(sandbox)
        refused(again, 429, "throttled")
        assert again.headers["Retry-After"]
        manifest(first)
        assert (kick_off(sandbox).status_code == 202) is freed
        requests.delete(first.headers["Content-Location"], timeout=120)
        assert kick_off(sandbox).status_code == 202 or freed


@pytest.mark.parametrize("name", PERSONAS)
def test_the_statement_says_what_each_vendor_exports(name: str) -> None:
    with running_sandbox(population()[:1], persona=PERSONAS[name]()) as sandbox:
        rest = requests.get(f"{sandbox.base_url}/metadata", timeout=120).json()["rest"][0]
        manners = sandbox.inside.exports.manners
    places = {row["type"]: row.get("operation", []) for row in rest["resource"]}
    places["system"] = rest.get("operation", [])
    listed = {place for place, found in places.items() if "export" in {o["name"] for o in found}}
    assert {place.lower() for place in listed} == set(manners.levels)
