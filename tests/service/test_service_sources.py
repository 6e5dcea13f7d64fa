"""One patient from a server, a transaction Bundle and an export: the same clinical content."""

from pathlib import Path

import orjson
from service_people import Json, person
from support.shell import Shell

from service.sandbox.testing import RunningSandbox
from twin_engine.document import clinical_digest

PATIENT = "demo-008"


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


def test_every_source_gives_the_same_clinical_digest(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    record = person(PATIENT)
    bundle, export = tmp_path / "record.json", tmp_path / "export"
    bundle.write_bytes(orjson.dumps(as_transaction(record.bundle())))
    export.mkdir()
    for kind in {r["resourceType"] for r in record.resources}:
        lines = [orjson.dumps(r) for r in record.resources if r["resourceType"] == kind]
        (export / f"{kind}.ndjson").write_bytes(b"\n".join(lines))
    server = ("--server", sandbox.base_url, "--patient", PATIENT, "--dry-run")
    digests = {
        digest(shell, tmp_path / "server", *server),
        digest(shell, tmp_path / "bundle", "--bundle", bundle),
        digest(shell, tmp_path / "ndjson", "--ndjson", export),
    }
    assert len(digests) == 1
