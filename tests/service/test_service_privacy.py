"""A patient made of markers goes through everything; no marker comes out but where it must."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from service_people import Json, person
from support.shell import Shell

from service.auth import Principal, Role
from service.auth.principals import Kind
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service
from service.sandbox import PatientBundle
from service.sandbox.testing import RunningSandbox, running_sandbox
from service.web.ports import RunRequest, RunState

MARKER = "Zq7marker"
# What a twin is made of: codes, units, states and times stay, everything else becomes a marker.
KEPT = frozenset(
    (
        *("resourceType", "system", "code", "unit", "status", "intent", "gender", "use", "type"),
        *("mode", "birthDate", "url", "contentType", "language", "comparator", "start", "end"),
    )
)
DATE = re.compile(r"\d{4}(-\d{2}){0,2}(T.*)?")


class Marked:
    """Replaces every other string by a marker of its own; references keep leading somewhere."""

    def __init__(self) -> None:
        self._count = count()
        self._ids: dict[str, str] = {}

    def __call__(self, node: Any, key: str = "") -> Any:
        if isinstance(node, dict):
            return {inner: self(value, inner) for inner, value in node.items()}
        if isinstance(node, list):
            return [self(value, key) for value in node]
        return self._string(node, key) if isinstance(node, str) else node

    def _string(self, text: str, key: str) -> str:
        if key == "id":
            return self._id(text)
        if key == "reference" and not text.startswith("#"):
            kind, _, identity = text.rpartition("/")
            return f"{kind}/{self._id(identity)}"
        if key in KEPT or DATE.fullmatch(text):
            return text
        return f"{MARKER}-{next(self._count)}"

    def _id(self, text: str) -> str:
        return self._ids.setdefault(text, f"{MARKER}-{next(self._count)}")


@pytest.fixture
def marked() -> PatientBundle:
    change = Marked()
    resources = tuple(change(resource) for resource in person("demo-001").resources)
    patient = next(r for r in resources if r["resourceType"] == "Patient")
    return PatientBundle(patient["id"], "", resources)


@pytest.fixture
def server(marked: PatientBundle) -> Iterator[RunningSandbox]:
    with running_sandbox([marked]) as sandbox:
        yield sandbox


def everything_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in folder.rglob("*"):
        yield str(file.relative_to(folder)), file.read_bytes() if file.is_file() else b""


def leaks(*folders: Path) -> list[str]:
    """Files whose name or bytes hold a marker."""
    mark = MARKER.lower().encode()
    return [
        name
        for folder in folders
        for name, data in everything_in(folder)
        if mark in data.lower() or mark in name.lower().encode()
    ]


def test_the_command_line_says_and_keeps_nothing(
    shell: Shell, server: RunningSandbox, marked: PatientBundle, tmp_path: Path
) -> None:
    command = ("run", "--server", server.base_url, "--patient", marked.id)
    ran = shell(*command, "--out", tmp_path / "out")
    again = shell(*command, "--json")
    assert (ran.code, again.code) == (0, 0)
    assert "predicted" in ran.out
    assert MARKER.lower() not in (ran.out + ran.err + again.out + again.err).lower()
    assert leaks(tmp_path / "out", shell.home) == ["assessments.json"]


def test_a_file_leaves_nothing_either(shell: Shell, marked: PatientBundle, tmp_path: Path) -> None:
    entries = [{"resource": resource} for resource in marked.resources]
    record: Json = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    file = tmp_path / f"{MARKER}.json"
    file.write_bytes(orjson.dumps(record))
    ran = shell("run", "--bundle", file, "--out", tmp_path / "out")
    assert ran.code == 0
    assert MARKER not in ran.out + ran.err
    assert leaks(tmp_path / "out", shell.home) == ["assessments.json"]


def test_the_service_keeps_no_identity_outside_sealed_bytes(
    home: Path,
    server: RunningSandbox,
    marked: PatientBundle,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Looked at while the database is open, so that its journal is searched as well."""
    monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", server.base_url)
    service = Service(open_runtime())
    service.start_workers()
    caller = Principal(Role.EHR, frozenset(), "test", Kind.API_KEY)
    run = service.start(RunRequest("ehr", marked.id), caller)
    missing = service.start(RunRequest("ehr", f"{MARKER}-unknown"), caller)
    found = leaks(home)
    shown = orjson.dumps([service.ledger_entries(), service.runs()], default=str)
    bundle = service.bundle(run.id)
    service.stop_workers()
    service.runtime.close()
    logged = capfd.readouterr()
    assert (run.state, missing.state) == (RunState.DONE, RunState.FAILED)
    assert found == []
    assert MARKER not in shown.decode() + logged.out + logged.err
    assert MARKER in str(bundle)  # the caller's own answer leads back to the caller's patient


def test_a_failure_in_the_middle_leaves_nothing(
    shell: Shell, marked: PatientBundle, tmp_path: Path
) -> None:
    """A record of which one resource has an impossible shape."""
    broken = {
        "resourceType": "Observation",
        "id": f"{MARKER}-x",
        "code": MARKER,
        "status": [MARKER],
    }
    entries = [{"resource": resource} for resource in (*marked.resources, broken)]
    file = tmp_path / "record.json"
    file.write_bytes(
        orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
    )
    ran = shell("run", "--bundle", file, "--patient", marked.id)
    assert MARKER not in ran.out + ran.err
    assert leaks(shell.home) == []
