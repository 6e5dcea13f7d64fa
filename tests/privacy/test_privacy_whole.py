"""Random resources with a marker in every leaf, through the whole service: none comes out.

A FHIR server serves them; they become twins, files and answers. Searched is whatever the service
says, writes or names: answers with their headers, errors, metrics, logs, the ledger, exports, the
pages of the database and of its journal (the sealed records among them, for plain text).
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from privacy_generator import DAY, MARKER, NUMBER, Generator
from privacy_server import Json, Records, serving
from support.shell import Shell

from privacy.elements import IN_SCOPE
from service.app import create_app
from service.auth import Role
from service.config import Logging, load_config
from service.pages.site import officer, pages
from service.pipeline.runtime import open_runtime
from service.web.logs import configure_logging
from service.wsgi import assembled, audit, deidentification, hooks, links

SCOPE = sorted(IN_SCOPE)
ENDED = {"done", "failed", "cancelled"}
FORMS = ("twin", "sphr", "fhir", "ips", "csv", "omop")
TWIN = ("", "/versions", "/assessments", "/ledger")
LEADS_BACK = "assessments.json"  # results for the chart of the very patient, of the command line


def record(number: int, size: int) -> tuple[str, list[Json]]:
    """One patient, whose id is a marker too, and what is about them or pretends to be. Nobody is
    called like a unit: the gate would rightly stop that twin."""
    generator = Generator(number, patient=f"{MARKER}-{number}", words=())
    found = [generator.resource(SCOPE[n % len(SCOPE)]) for n in range(size)]
    patient = generator.resource("Patient")
    for key in ("modifierExtension", "implicitRules", "deceasedBoolean", "deceasedDateTime"):
        patient.pop(key, None)
    found = [resource for resource in found if resource["resourceType"] != "Patient"]
    found += [{**patient, "birthDate": DAY, "gender": "female"}] * (size - len(found))
    return generator.patient, found


def spellings(text: str) -> Iterator[bytes]:
    """A text as it may be hidden in a stream of bytes."""
    plain = text.encode()
    for form in (plain, plain.lower(), plain.upper(), plain[::-1]):
        yield form
        yield form.hex().encode()
    yield text.encode("utf-16-le")
    for shift in range(3):  # base64, wherever it stands in what is encoded
        inner = base64.b64encode(b"\0" * shift + plain)[4 if shift else 0 : -4]
        if len(inner) >= 8:  # fewer characters stand in any long text by chance
            yield inner


NEEDLES = [*spellings(MARKER), *spellings(DAY), *spellings(DAY.replace("-", "")),
           str(NUMBER)[:8].encode()]  # fmt: skip


def markers_in(data: bytes) -> list[bytes]:
    return [needle for needle in NEEDLES if needle in data]


@dataclass
class Whole:
    """The composed service, and everything that it has said so far."""

    client: FlaskClient
    home: Path
    headers: dict[Role, dict[str, str]]
    log: io.StringIO
    said: list[tuple[str, bytes]] = field(default_factory=list)

    def ask(self, method: str, path: str, role: Role = Role.EHR, **more: Any) -> Any:
        answer = self.client.open(path, method=method, headers=self.headers[role], **more)
        what = f"answer {len(self.said)}: {method} {answer.status_code}"
        self.said.append((what, str(answer.headers).encode() + answer.data))
        return answer

    def run(self, patient: str) -> Json:
        """To its end, well or badly."""
        body = {"server": "ehr", "patient": patient}
        answer = self.ask("POST", "/api/v1/runs", json=body)
        found: Json = answer.get_json()
        while "state" not in found or found["state"] not in ENDED:
            sleep(0.2)
            path = f"/api/v1/runs/{found.get('id') or found['run']}"
            found = self.ask("GET", path).get_json()
        return found

    def everything(self, *folders: Path) -> Iterator[tuple[str, bytes]]:
        """Names and contents."""
        yield from self.said
        yield "the log", self.log.getvalue().encode()
        for file in (file for folder in (self.home, *folders) for file in folder.rglob("*")):
            yield f"name of {file.suffix}", str(file.relative_to(self.home.parent)).encode()
            if file.is_file() and file.name != LEADS_BACK:
                yield file.name, file.read_bytes()


@pytest.fixture
def records(request: pytest.FixtureRequest) -> Records:
    first, people, size = request.param
    return dict(record(number, size) for number in range(first, first + people))


@pytest.fixture
def whole(records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Whole]:
    with serving(records, MARKER) as address:
        monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", address)
        monkeypatch.setenv("TWINPORT_WEB__REQUESTS_PER_MINUTE", "100000")
        monkeypatch.setenv("TWINPORT_LIMITS__BODY_BYTES", str(2**28))
        config, log = load_config(), io.StringIO()
        runtime = open_runtime(config)
        services = assembled(runtime)
        parts = [make(runtime) for make in (hooks, deidentification, audit, links)]
        app = create_app(config, services, pages=[pages, officer, *parts])
        configure_logging(Logging(level="debug"), log)
        issue = services.access.api_keys.issue
        headers = {
            role: {"Authorization": f"Bearer {issue(role, label='test').text}"}
            for role in (Role.EHR, Role.PRIVACY_OFFICER, Role.ADMIN)
        }
        services.start()
        try:
            client = app.test_client(use_cookies=False)
            yield Whole(client, tmp_path / "home", headers, log)
        finally:
            services.stop()
            runtime.close()


def ask_wrongly(whole: Whole) -> None:
    """Whatever a caller may get wrong, with a marker in it."""
    for path in (f"/{MARKER}?x={MARKER}", f"/api/v1/twins/{MARKER}", f"/fhir/{MARKER}/{MARKER}",
                 f"/fhir/RiskAssessment/{MARKER}", f"/fhir/RiskAssessment?{MARKER}={MARKER}",
                 f"/api/v1/runs?state={MARKER}", f"/api/v1/models/{MARKER}"):  # fmt: skip
        whole.ask("GET", path)
    for body in ({"server": MARKER, "patient": "x"}, {MARKER: MARKER}, {"server": [MARKER]},
                 {"server": "ehr", "patient": f"{MARKER}/{MARKER}"}):  # fmt: skip
        assert whole.ask("POST", "/api/v1/runs", json=body).status_code >= 400
    for policy, data in ((MARKER, b"{}"), ("safe-harbor", f'{{"{MARKER}": '.encode()),
                         ("safe-harbor", f'{{"resourceType": "{MARKER}"}}'.encode())):  # fmt: skip
        answer = whole.ask("POST", f"/fhir/$de-identify?policy={policy}", data=data,
                           content_type="application/fhir+json")  # fmt: skip
        assert answer.status_code >= 400
    assert whole.run(f"{MARKER}-nobody")["state"] == "failed"


def take_away(whole: Whole, twin: str, resources: list[Json], folder: Path) -> None:
    """Every command that writes or shows anything of a twin or of a record."""
    shell, numbers = Shell(whole.home), count()
    source = folder / f"{MARKER}.ndjson"
    source.write_bytes(b"".join(orjson.dumps(resource) + b"\n" for resource in resources))
    bundle = folder / f"{MARKER}.json"
    once = {(one["resourceType"], one["id"]): one for one in resources}.values()
    entries = [{"fullUrl": f"urn:uuid:{MARKER}-{n}", "resource": one} for n, one in enumerate(once)]
    held = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    bundle.write_bytes(orjson.dumps(held))
    out = whole.home.parent / "out"
    commands: list[tuple[object, ...]] = [
        *(("export", "--twin", twin, "--to", form, "--out", out / form) for form in FORMS),
        ("deidentify", source, "--out", out / "ndjson"),
        ("deidentify", bundle, "--out", out / "bundle"),
        ("run", "--bundle", bundle, "--out", out / "run"),
        ("ledger", "export", out / "ledger.jsonl"),
        ("audit", "export", out / "audit.jsonl"),
        ("risk", "held", "--json"),
        ("risk", "twin", twin),
    ]
    for command in commands:
        ran = shell(*command)
        where = f"{next(numbers)}: {command[0]} {ran.code}"
        whole.said.append((where, (ran.out + ran.err).encode()))
        assert ran.code == 0, (command[:2], ran.err)


def show(whole: Whole, twin: str) -> None:
    """All of it, to whoever may see it."""
    for part in TWIN:
        answers = [whole.ask("GET", f"/api/v1/twins/{twin}{part}", role) for role in whole.headers]
        assert 200 in {answer.status_code for answer in answers}, part


def through_the_service(whole: Whole, records: Records, folder: Path) -> int:
    """Twins and files of everybody; how many twins there are."""
    ask_wrongly(whole)
    made = {}
    for patient, resources in records.items():
        run = whole.run(patient)
        if run["state"] == "done":
            made[patient] = run["twin"]
            show(whole, run["twin"])
        data = b"".join(orjson.dumps(resource) + b"\n" for resource in resources)
        answer = whole.ask("POST", "/fhir/$de-identify?policy=safe-harbor", data=data,
                           content_type="application/fhir+ndjson")  # fmt: skip
        assert answer.status_code == 200
        assert len(answer.data.splitlines()) > len(resources) / 4
    for kind in ("RiskAssessment", "Observation", "Provenance", "AuditEvent"):
        for role in (Role.EHR, Role.PRIVACY_OFFICER):
            whole.ask("GET", f"/fhir/{kind}", role)
    whole.ask("GET", "/api/v1/ledger", Role.PRIVACY_OFFICER)
    whole.ask("GET", "/metrics", Role.ADMIN)
    patient, twin = next(iter(made.items()))
    take_away(whole, twin, list(records[patient]), folder)
    return len(made)


def assert_no_marker(whole: Whole) -> None:
    found = [(what, markers_in(data)) for what, data in
             whole.everything(whole.home.parent / "out")]  # fmt: skip
    assert [(what, needles) for what, needles in found if needles] == []
    names = {what for what, _ in found}
    assert {"the log", "twinport.db", "twin.json", "ledger.jsonl", "report.json"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("records", [(100, 20, 500), (200, 20, 500)], indirect=True, ids=str)
def test_twenty_thousand_resources_leave_no_marker_anywhere(
    whole: Whole, records: Records, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert sum(map(len, records.values())) == 10_000
    assert orjson.dumps(records).count(MARKER.encode()) > 400_000
    assert through_the_service(whole, records, tmp_path_factory.mktemp("in")) > 15
    assert_no_marker(whole)


def test_the_search_finds_what_is_hidden() -> None:
    for hidden in (MARKER, MARKER.lower(), f"x{base64.b64encode(f'a{MARKER}z'.encode()).decode()}",
                   f"..{DAY}..", f"{NUMBER}", MARKER.encode().hex()):  # fmt: skip
        assert markers_in(hidden.encode())
    assert not markers_in(b"twinport Zq7 1987 06-05 8765")
