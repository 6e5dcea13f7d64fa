"""One patient from a server, a transaction Bundle and an export: the same clinical content."""

from pathlib import Path

import orjson
from service_people import Json, person
from support.shell import Shell

from service.sandbox.population import PatientBundle
from service.sandbox.testing import RunningSandbox, running_sandbox
from twin_engine.document import clinical_digest

PATIENT = "demo-016"  # a child with vaccines


def digest(shell: Shell, out: Path, *source: object) -> str:
    ran = shell("run", *source, "--out", out, "--json")
    assert (ran.code, ran.err) == (0, "")
    return clinical_digest(orjson.loads((out / "twin.json").read_bytes())["twin"])


def as_transaction(record: Json) -> Json:
    request = {"method": "POST", "url": "Patient"}
    return record | {
        "type": "transaction",
        "entry": [entry | {"request": request} for entry in record["entry"]],
    }


def test_every_source_gives_the_same_clinical_digest(shell: Shell, tmp_path: Path) -> None:
    record = person(PATIENT)
    with running_sandbox([record]) as sandbox:
        digests = _from_every_source(shell, sandbox, record, tmp_path)
    assert len(digests) == 1


def _from_every_source(
    shell: Shell, sandbox: RunningSandbox, record: PatientBundle, tmp_path: Path
) -> set[str]:
    bundle, export = tmp_path / "record.json", tmp_path / "export"
    bundle.write_bytes(orjson.dumps(as_transaction(record.bundle())))
    export.mkdir()
    for kind in {r["resourceType"] for r in record.resources}:
        lines = [orjson.dumps(r) for r in record.resources if r["resourceType"] == kind]
        (export / f"{kind}.ndjson").write_bytes(b"\n".join(lines))
    server = ("--server", sandbox.base_url, "--patient", PATIENT, "--dry-run")
    return {
        digest(shell, tmp_path / "server", *server),
        digest(shell, tmp_path / "bundle", "--bundle", bundle),
        digest(shell, tmp_path / "ndjson", "--ndjson", export),
    }
