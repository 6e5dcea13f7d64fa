"""Servers that export, and what a run against them is expected to say."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from support.shell import Ran, Shell

from service.sandbox import PatientBundle
from service.sandbox.export import Manners
from service.sandbox.persona import Persona, Settings
from service.sandbox.testing import RunningSandbox, population, running_sandbox

Json = dict[str, Any]
FEW = ("p1", "p2")
NAMES = ("Zorkmidt", "Quibblewick")


class Exporting(Persona):
    """The plain server with other manners of exporting."""

    def __init__(self, **changes: Any) -> None:
        self.exports = replace(Manners(retry_after="0"), **changes)


TELLING = (*NAMES, "Aurelia", "MRN-77", "1960-02-03", "c-p1")
"""What no file, message or name may hold"""


def people(*ids: str) -> list[PatientBundle]:
    """Those of the made-up population, or small ones made here: enough for most tests."""
    if ids[0].startswith("demo"):
        return [person for person in population() if person.id in ids]
    return [PatientBundle(i, "", tuple(record(i, n))) for n, i in enumerate(ids)]


def record(identity: str, number: int = 0) -> list[Json]:
    name = {"family": NAMES[number % 2], "given": ["Aurelia"]}
    mrn = {"system": "urn:mrn", "value": f"MRN-77{number:04}"}
    about = {"subject": {"reference": f"Patient/{identity}"}}
    medication = {"medicationReference": {"reference": f"Medication/m-{identity}"}}
    order = {"status": "active", "intent": "order", "authoredOn": "2026-02-01", **medication}
    code = {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]}
    drug = {"coding": [{"system": RXNORM, "code": "83367"}]}
    return [
        {"resourceType": "Patient", "id": identity, "gender": "female", "birthDate": "1960-02-03",
         "name": [name], "identifier": [mrn]},
        *(heart_rate(f"{identity}-{n}", identity, 60 + n) for n in range(3)),
        {"resourceType": "Condition", "id": f"c-{identity}", "code": code,
         "onsetDateTime": "2020-01-05", **about},
        {"resourceType": "Procedure", "id": f"x-{identity}", "status": "completed", "code": code,
         "performedDateTime": "2021-01-05", **about},
        {"resourceType": "MedicationRequest", "id": f"r-{identity}", **order, **about},
        {"resourceType": "Medication", "id": f"m-{identity}", "code": drug},
    ]  # fmt: skip


def heart_rate(identity: str, patient: str, value: float) -> Json:
    code = {"system": "http://loinc.org", "code": "8867-4"}
    unit = {"system": "http://unitsofmeasure.org", "code": "/min"}
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "code": {"coding": [code]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-03-01",
        "valueQuantity": {"value": value, **unit},
    }


RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


@contextmanager
def exporting(
    persona: Persona | None = None,
    ids: Sequence[str] = FEW,
    settings: Settings | None = None,
) -> Iterator[RunningSandbox]:
    found = running_sandbox(people(*ids), persona=persona or Exporting(), settings=settings)
    with found as sandbox:
        yield sandbox


def configure(home: Path, sandbox: RunningSandbox, **bulk: Any) -> None:
    """The server as `main`, with short pauses; its group, unless the test says otherwise."""
    settings = {"level": "group", "group": "everyone", "longest_pause_seconds": 0, **bulk}
    auth = settings.pop("auth", None)
    more = settings.pop("server", {})
    rows = [f'base_url = "{sandbox.base_url}"', *(f"{k} = {_toml(v)}" for k, v in more.items())]
    lines = ["[servers.main]", *rows, "[servers.main.bulk]"]
    lines += [f"{name} = {_toml(value)}" for name, value in settings.items()]
    if auth:
        lines += ["[servers.main.auth]", *(f'{n} = "{v}"' for n, v in auth.items())]
    (home / "twinport.toml").write_text("\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value)


def bulk(shell: Shell, *arguments: object) -> Ran:
    return shell("bulk", *arguments)


def report(shell: Shell, *arguments: object, code: int = 0) -> Json:
    ran = bulk(shell, *(arguments or ("run", "main")), "--json")
    assert ran.code == code, ran.err
    found: Json = ran.json
    return found


def twins(out: Path) -> list[Json]:
    files = sorted(out.glob("*/twin.json"))
    return [orjson.loads(file.read_bytes())["twin"] for file in files]


def slices(twin: Json) -> dict[str, Json]:
    return {part["type"]: part for part in twin["completeness"]["slices"]}
