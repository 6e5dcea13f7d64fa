"""Risk over twins that a real run has made."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.shell import Shell

from service.risk.report import lines, report
from service.risk.rows import facts, panel, quasi_row

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
RESULTS = {"2160-0": "mg/dL", "2093-3": "mg/dL", "8480-6": "mm[Hg]"}


def bundle(number: int) -> dict[str, Any]:
    name = f"p{number}"
    resources: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": name, "gender": ["male", "female"][number % 2],
         "birthDate": f"19{50 + number // 4}-04-05", "identifier": [{"value": f"id-{number}"}]},
    ]  # fmt: skip
    for place, (code, unit) in enumerate(RESULTS.items()):
        value = {"2160-0": 1.1, "2093-3": 180 + number, "8480-6": 131}[code]
        resources.append(
            {"resourceType": "Observation", "id": f"o{number}-{place}", "status": "final",
             "code": {"coding": [{"system": LOINC, "code": code}]},
             "subject": {"reference": f"Patient/{name}"}, "effectiveDateTime": "2019-03-04",
             "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit}}
        )  # fmt: skip
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("risk")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(folder / "home"))
        run = Shell(folder / "home")
        entries = [entry for number in range(8) for entry in bundle(number)["entry"]]
        (folder / "all.json").write_bytes(
            orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
        )
        assert run("run", "--bundle", folder / "all.json").code == 0
        yield run


def test_the_report_measures_what_is_held(shell: Shell) -> None:
    found = shell("risk", "--json", "--population", "100000").json
    assert found["twins"] == 8
    assert found["quasiIdentifiers"] == ["sex", "age", "deceased"]
    assert (found["classes"]["k"], found["classes"]["unique"]) == (2, 0)
    assert {level["id"]: level["met"] for level in found["thresholds"]}["low-invasion"] is False
    assert [made["known"] for made in found["attacks"]] == [1, 2, 3]
    assert found["attacks"][-1]["unicity"] == 1.0  # all three results of a person
    assert found["panels"] == {
        "panels": 8, "singledOut": 8, "medianValues": 1, "byOne": 8, "byTwo": 0,
    }  # fmt: skip
    assert found["population"]["uniques"] == 0


def test_the_report_reads_well_and_shows_no_value(shell: Shell) -> None:
    said = shell("risk", "--knows", "sex", "--knows", "age-band").out
    assert "8 twins; known to an outsider: sex, age-band" in said
    assert "smallest class (k)        4" in said
    assert "one value is enough for 8" in said
    assert "not anonymous" in said
    assert not re.search(r"\b1(31|8\d)\b", said)


def test_a_population_smaller_than_the_sample_is_refused(shell: Shell) -> None:
    said = shell("risk", "--population", "3")
    assert said.code == 2
    assert "not smaller than the sample" in said.error


def test_no_twins_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path))
    said = Shell(tmp_path)("risk")
    assert said.code == 0
    assert said.out.startswith("0 twins")
    assert lines(report([], ("sex",), 5))


def test_rows_of_a_document() -> None:
    document: dict[str, Any] = {
        "twin": {"timeUnit": "min"},
        "subject": {"sex": "female", "age": 54, "deceased": False},
        "signals": {"a": {"t": [1440, 1500, 9000], "v": [1, 2, 3]}, "b": {"t": [1441], "v": [5]}},
        "coded": {"smoking-status": {"t": [1], "code": ["never"]}},
        "conditions": [{"group": "hypertension", "code": "38341003"}, {"code": "1"}],
    }
    assert quasi_row(document, ("sex", "age-band", "conditions")) == (
        "female",
        50,
        ("hypertension",),
    )
    assert panel(document) == {("a", 1), ("a", 2), ("b", 5)}
    assert ("smoking-status", "never") in facts(document)
    assert ("condition", "38341003") in facts(document)
    assert quasi_row({"subject": {}}, ("age", "age-band")) == (None, None)
