"""Risk over twins that a real run has made."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.shell import Shell

from service.risk.rows import facts, panel, traits_of
from service.stores.risk import Traits

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
    found = shell("risk", "held", "--json", "--population", "100000").json
    assert (found["policy"], found["twins"], found["compared"]) == ("safe-harbor", 8, 8)
    assert found["quasiIdentifiers"] == ["sex", "age", "deceased"]
    assert (found["classes"]["k"], found["classes"]["unique"]) == (2, 0)
    assert found["sizes"] == [[2, 4]]
    levels = {level["id"]: level for level in found["thresholds"]}
    assert (levels["low-invasion"]["met"], levels["low-invasion"]["chosen"]) == (False, True)
    assert [made["known"] for made in found["attacks"]] == [1, 2, 3]
    assert found["attacks"][-1]["unicity"] == 1.0  # all three results of a person
    assert found["panels"] == {
        "panels": 8, "singledOut": 8, "medianValues": 1, "byOne": 8, "byTwo": 0, "needed": [[1, 8]],
    }  # fmt: skip
    assert found["population"]["uniques"] == 0
    assert found["diversity"] == {"of": "conditions", "distinct": 1, "entropy": 1, "disclosed": 8}


def test_the_usual_threshold_is_shown_with_its_trap(shell: Shell) -> None:
    """One in eleven is more than the 0.09 it is published as: sizes are compared."""
    [low] = [
        level for level in shell("risk", "held", "--json").json["thresholds"] if level["chosen"]
    ]
    assert (low["k"], low["risk"]) == (11, 0.09)
    assert low["oneIn"] > low["risk"]
    assert "one in 11 is above the 0.09" in shell("risk", "held").out


def test_the_report_reads_well_and_shows_no_value(shell: Shell) -> None:
    said = shell("risk", "held", "--knows", "sex", "--knows", "age-band").out
    assert "8 twins; known to an outsider: sex, age-band" in said
    assert "smallest class (k)        4" in said
    assert "one value is enough for 8" in said
    assert "not anonymous" in said
    assert not re.search(r"\b1(31|8\d)\b", said)


def test_one_twin_among_those_held(shell: Shell) -> None:
    twin = shell("risk", "history", "--json").json[0]["twin"]
    found = shell("risk", "twin", twin, "--json").json
    assert (found["k"], found["prosecutor"], found["met"]) == (2, 0.5, False)
    assert (found["people"], found["journalist"]) == (None, None)  # nobody knows, so nothing told
    assert found["panel"] == {"values": 3, "needed": 1}
    assert found["attacks"][-1]["success"] == 1.0
    said = shell("risk", "twin", twin).out
    assert "twins alike (k)           2; wanted 11 (low-invasion): not met" in said
    assert "of 3 values of its fullest day, 1 single it out" in said
    assert shell("risk", "twin", "A" * 22).error == "no such twin is held here"


def test_the_ledger_binds_the_risk_at_the_making(shell: Shell) -> None:
    """Each twin was counted among those held with it, and the chain of entries verifies."""
    found = shell("risk", "history", "--json").json
    assert [made["twins"] for made in found] == list(range(1, 9))
    assert sorted(made["own"] for made in found) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert found[-1]["knows"] == ["sex", "age", "deceased"]
    assert (found[-1]["threshold"], found[-1]["wanted"]) == ("low-invasion", 11)
    assert shell("ledger", "verify").code == 0
    assert shell("risk", "history").out.count("not met") == 8


def test_a_population_smaller_than_the_sample_is_refused(shell: Shell) -> None:
    said = shell("risk", "held", "--population", "3")
    assert said.code == 2
    assert "not smaller than the sample" in said.error


def test_no_twins_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path))
    said = Shell(tmp_path)("risk", "held", "--population", "5")
    assert said.code == 0
    assert said.out.startswith("0 twins")


def test_rows_of_a_document() -> None:
    document: dict[str, Any] = {
        "twin": {"timeUnit": "min"},
        "subject": {"sex": "female", "age": 54, "deceased": False},
        "signals": {"a": {"t": [1440, 1500, 9000], "v": [1, 2, 3]}, "b": {"t": [1441], "v": [5]}},
        "coded": {"smoking-status": {"t": [1], "code": ["never"]}},
        "conditions": [{"group": "hypertension", "code": "38341003"}, {"code": "1"}],
    }
    assert traits_of(document) == Traits("female", 54, False, ("hypertension",))
    assert panel(document) == {("a", 1), ("a", 2), ("b", 5)}
    assert ("smoking-status", "never") in facts(document)
    assert ("condition", "38341003") in facts(document)
    assert traits_of({"subject": {}}) == Traits(None, None, None)
