"""`twinport server`: what an engineer is told about each vendor's server, the file it writes."""

import json
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Request, Response
from joserfc.jwk import ECKey
from personas_loop import at, person, serving

from service.cli import cli
from service.config import load_config
from service.config.sections import ServerAuth
from service.fhir.checkup import check_server
from service.fhir.findings import Finding, Level
from service.fhir.http import FhirClient
from service.keys import KeyRing
from service.sandbox.persona import Persona, Settings
from service.sandbox.personas import PERSONAS
from service.sandbox.testing import RunningSandbox, running_sandbox

PATIENT = "demo-001"


def checked(sandbox: RunningSandbox, patient: str | None = PATIENT) -> list[Finding]:
    with FhirClient(at(sandbox)) as client:
        return check_server(client, patient)


def about(findings: list[Finding], level: Level) -> set[str]:
    return {finding.about for finding in findings if finding.level is level}


NOT_IN_SANDBOX = {"MedicationStatement", "changes"}  # no persona takes subscriptions
GAPS = {
    "epic": NOT_IN_SANDBOX | {"Provenance", "Device"},
    "oracle": NOT_IN_SANDBOX | {"ImagingStudy", "Medication"},
}


@pytest.mark.parametrize("name", PERSONAS)
def test_each_vendor_is_described_as_it_is(name: str) -> None:
    with serving(person(PATIENT), PERSONAS[name]()) as sandbox:
        findings = checked(sandbox)
    assert not about(findings, Level.BROKEN)
    no_writing = name in ("epic", "oracle")
    assert ("write-back" in about(findings, Level.REFUSED)) is no_writing
    assert ("write-back" in about(findings, Level.ASK)) is no_writing
    expected = GAPS.get(name, NOT_IN_SANDBOX) - {"Provenance", "Device"}
    assert about(findings, Level.MISSING) == expected
    assert "Observation" in about(findings, Level.REFUSED if name == "epic" else Level.WORKS)


def test_what_was_found_before_a_failure_is_told_and_no_id_with_it() -> None:
    with serving(person(PATIENT)) as sandbox:
        findings = checked(sandbox, "nobody-here")
    assert findings[-1].level is Level.BROKEN
    assert "search" in about(findings, Level.WORKS)
    assert not [f for f in findings if "nobody-here" in f.text]


def test_a_refused_sign_in_comes_with_advice() -> None:
    with running_sandbox([person(PATIENT)], settings=Settings(bearer_token="right")) as sandbox:
        findings = checked(sandbox)
    assert about(findings, Level.BROKEN) == {"server"}
    assert about(findings, Level.ASK) == {"sign-in"}


@dataclass
class Doorkeeper(Persona):
    """SMART Backend Services that grants what it is told to."""

    scope: str
    algorithms: tuple[str, ...] = ("RS384", "ES384")

    def intercept(self, request: Request) -> Response | None:
        if request.path.endswith("/token"):
            token = {"access_token": "t", "token_type": "bearer", "scope": self.scope}
            return Response(json.dumps(token), content_type="application/json")
        if request.path.endswith("/.well-known/smart-configuration"):
            found = {
                "token_endpoint": "token",
                "token_endpoint_auth_signing_alg_values_supported": self.algorithms,
            }
            return Response(json.dumps(found), content_type="application/json")
        return None


def smart(folder: Path, *scopes: str) -> ServerAuth:
    key = folder / "key.json"
    key.write_text(json.dumps(ECKey.generate_key("P-384").as_dict(private=True)))
    more = {"scopes": scopes} if scopes else {}
    return ServerAuth(kind="smart-backend", client_id="c", key_file=str(key), **more)


def signed_in_findings(persona: Persona, auth: ServerAuth) -> list[Finding]:
    with (
        serving(person(PATIENT), persona) as sandbox,
        FhirClient(at(sandbox, auth=auth)) as client,
    ):
        return check_server(client)


def test_per_type_it_is_said_what_was_asked_and_granted(tmp_path: Path) -> None:
    scope = "system/Patient.read system/Observation.read system/Medication.read"
    auth = smart(tmp_path, "system/Patient.rs", "system/Observation.rs", "system/Condition.rs")
    findings = signed_in_findings(Doorkeeper(scope), auth)
    said = {f.about: f.text for f in findings if f.level is Level.MISSING}
    assert said["Condition"].startswith("asked for and not granted")
    assert said["Procedure"].startswith("neither asked for nor granted")
    assert not said.keys() & {"Patient", "Observation", "Medication"}
    (ask,) = [f.text for f in findings if f.level is Level.ASK and f.about == "scopes"]
    assert "system/Condition.read" in ask
    assert "system/Observation" not in ask


def test_with_everything_granted_nothing_is_missing_for_its_sake(tmp_path: Path) -> None:
    findings = signed_in_findings(Doorkeeper("system/*.rs"), smart(tmp_path, "system/*.rs"))
    assert about(findings, Level.MISSING) == NOT_IN_SANDBOX
    assert "scopes" in about(findings, Level.WORKS)


def test_a_key_of_the_wrong_kind_is_named_before_the_sign_in(tmp_path: Path) -> None:
    persona = Doorkeeper("system/*.rs", algorithms=("RS384",))
    findings = signed_in_findings(persona, smart(tmp_path))
    assert "key" in about(findings, Level.REFUSED)
    (step,) = [f.text for f in findings if f.level is Level.ASK and f.about == "key"]
    assert "RSA" in step


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TWINPORT_CONFIG", raising=False)
    return tmp_path / "home"


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["server", *arguments], input=text, standalone_mode=False)


def written(home: Path) -> dict[str, Any]:
    return tomllib.loads((home / "twinport.toml").read_text())


def test_added_checked_and_listed(home: Path) -> None:
    with serving(person(PATIENT)) as sandbox:
        assert run("add", "main", sandbox.base_url).exception is None
        done = run("check", "main", "--patient", PATIENT, "--json")
    assert done.return_value == 0
    found = [row for line in done.stdout.splitlines() for row in json.loads(line)]
    assert {row["about"]: row["level"] for row in found}["Observation"] == "works"
    assert PATIENT not in done.output
    assert "main" in run("list").stdout


def test_what_was_in_the_file_stays(home: Path) -> None:
    home.mkdir(mode=0o700)
    before = "# ours\n[project]\nname = 'study'  # kept"
    (home / "twinport.toml").write_text(before)
    run("add", "main", "https://ehr.example/fhir", "--read-only", "--write-refusals")
    assert (home / "twinport.toml").read_text().startswith(before)
    assert written(home)["servers"]["main"] == {
        "base_url": "https://ehr.example/fhir",
        "write_back": False,
        "write_refusals": True,
    }
    assert load_config({"TWINPORT_HOME": str(home)}).project.name == "study"


def test_secrets_are_asked_for_and_kept_from_others(home: Path) -> None:
    secret = 'p"ass\\wörd'
    done = run("add", "main", "https://e.example/fhir", "--auth", "basic", text=f"me\n{secret}\n")
    assert done.exception is None
    assert secret not in done.output
    assert written(home)["servers"]["main"]["auth"]["password"] == secret
    assert stat.S_IMODE((home / "twinport.toml").stat().st_mode) == 0o600
    assert secret not in run("list").output


def test_a_new_key_is_made_and_its_public_half_shown(home: Path) -> None:
    url = "https://e.example/fhir"
    done = run("add", "main", url, "--auth", "smart-backend", "--client-id", "c")
    assert done.exception is None
    (key,) = json.loads(done.stdout)["keys"]
    assert (key["crv"], key["alg"], "d" in key) == ("P-384", "ES384", False)
    path = Path(written(home)["servers"]["main"]["auth"]["key_file"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    private = ECKey.import_key(json.loads(path.read_text()))
    assert private.thumbprint() == key["kid"]
    assert json.loads(run("jwks").stdout)["keys"] == [key]
    (new,) = json.loads(run("rotate-key", "main").stdout)["keys"]
    assert json.loads(run("jwks").stdout)["keys"] == [key, new]
    assert run("rotate-key", "main").exception is None
    assert json.loads(run("jwks").stdout)["keys"] == [new]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "d" in json.loads(path.read_text())["keys"][0]
    KeyRing.open(home / "keys")  # the installation's own keys are made beside it


@pytest.mark.parametrize(
    "arguments",
    [
        ("main", "http://ehr.example/fhir"),
        ("main", "https://user:secret@ehr.example/fhir"),
        ("main", "ftp://ehr.example"),
        ("Main", "https://ehr.example/fhir"),
        ("main", "https://ehr.example/fhir", "--trusted-origin", "https://cdn.example/path"),
        ("main", "https://ehr.example/fhir", "--auth", "smart-backend"),
        ("main", 'https://ehr.example/"\n[web]\ntls = "isolated'),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(
    home: Path, arguments: tuple[str, ...]
) -> None:
    assert run("add", *arguments).exception is not None
    assert not (home / "twinport.toml").exists()
    assert not list((home / "keys").glob("server-*")) if (home / "keys").exists() else True


def test_no_value_can_write_another_setting(home: Path) -> None:
    odd = 'me"\n[web]\ntls = "isolated'
    done = run("add", "main", "https://e.example", "--auth", "smart-backend", "--client-id", odd)
    assert done.exception is None
    assert written(home).keys() == {"servers"}
    assert written(home)["servers"]["main"]["auth"]["client_id"] == odd


def test_a_name_is_given_once(home: Path) -> None:
    run("add", "main", "https://ehr.example/fhir")
    assert run("add", "main", "https://other.example/fhir").exception is not None
    assert written(home)["servers"]["main"]["base_url"] == "https://ehr.example/fhir"


def test_an_unreachable_server_ends_with_its_own_code(home: Path) -> None:
    done = run("check", "http://127.0.0.1:9/fhir")
    assert done.return_value == 4
    assert "could not be reached" in done.stdout
