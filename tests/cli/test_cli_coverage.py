"""`twinport coverage`."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from cli_records import NAME, Home, record
from support.shell import Shell


def test_codes_that_are_not_ours_are_counted_by_type(twinport: Shell, home: Home) -> None:
    found = twinport("coverage", "--bundle", home.bundle, "--json").json
    assert {"type": "Condition", "system": "snomed", "code": "444814009", "n": 1} in found[
        "unmapped"
    ]
    assert found["numbersWithUnit"] == {"n": 4, "mapped": 3, "setAside": 1, "share": 1.0}
    assert found["setAside"] == {"implausible": 1}
    assert (found["patients"], found["resources"]["Observation"]) == (1, 5)


def test_a_number_under_an_unknown_code_lowers_the_share(twinport: Shell, tmp_path: Path) -> None:
    resources = record()
    resources[2]["code"]["coding"][0]["code"] = "32465-7"
    said = twinport("coverage", "--bundle", _written(tmp_path, resources))
    assert "4 Observations carry a number with a unit: 2 mapped, 1 set aside" in said.out
    assert "(75.0%)" in said.out
    assert "1  loinc 32465-7" in said.out


def test_a_code_of_a_local_system_is_counted_and_not_shown(twinport: Shell, tmp_path: Path) -> None:
    resources = record()
    resources[2]["code"]["coding"][0] = {"system": "https://here.example.org/lab", "code": NAME}
    said = twinport("coverage", "--bundle", _written(tmp_path, resources))
    assert NAME not in said.out + said.err
    assert "here.example.org" not in said.out + said.err
    assert "1  (no code that can be read)" in said.out


@pytest.mark.parametrize(
    ("system", "code", "told"),
    [
        ("http://snomed.info/sct", "58756001", "snomed 64572001"),  # Huntington's chorea
        ("http://hl7.org/fhir/sid/icd-10-cm", "A82.9", "icd10cm R69"),  # rabies
        ("http://hl7.org/fhir/sid/icd-10-cm", "K21.9", "icd10cm K21"),
    ],
)
def test_a_code_is_told_no_finer_than_a_run_would_tell_it(
    twinport: Shell, tmp_path: Path, system: str, code: str, told: str
) -> None:
    resources = record()
    [condition] = [one for one in resources if one["resourceType"] == "Condition"][:1]
    condition["code"] = {"coding": [{"system": system, "code": code}]}
    said = twinport("coverage", "--bundle", _written(tmp_path, resources), "--all")
    assert told in said.out
    assert code not in said.out


def test_folders_of_ndjson_are_read_too(twinport: Shell, tmp_path: Path) -> None:
    lines = b"\n".join(orjson.dumps(resource) for resource in record())
    (tmp_path / "all.ndjson").write_bytes(lines)
    said = twinport("coverage", "--ndjson", tmp_path)
    assert said.code == 0
    assert "1 patient, 11 resources" in said.out
    assert "4 Observations carry a number" in said.out


def test_one_kind_of_source_is_needed(twinport: Shell) -> None:
    assert twinport("coverage").code == 2


def test_files_without_a_patient_say_so(twinport: Shell, tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_bytes(b'{"resourceType": "Bundle", "type": "collection"}')
    said = twinport("coverage", "--bundle", empty)
    assert said.code == 3
    assert "holds no Patient" in said.error


def _written(folder: Path, resources: list[dict[str, Any]]) -> Path:
    entries = [{"resource": resource} for resource in resources]
    path = folder / "bundle.json"
    path.write_bytes(
        orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
    )
    return path
