"""Local versions and silence, as an administrator meets them."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from support.shell import Shell

from service.cli.exits import Exit
from service.cli.silent import _judged, _Tally
from service.sandbox.testing import TEST_ANCHOR, population
from twin_engine.models.contract import Target

WOMAN = "demo-001"  # complete inputs: PREVENT answers


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    one = next(person for person in population(TEST_ANCHOR) if person.id == WOMAN)
    file = tmp_path_factory.mktemp("record") / "record.json"
    file.write_bytes(orjson.dumps(one.bundle()))
    return file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """People for PREVENT who have events twice as often as their age and pressure would say."""
    folder = tmp_path_factory.mktemp("local")
    random = np.random.RandomState(9)
    rows, outcomes = folder / "rows.csv", folder / "outcomes.csv"
    head = "id,age,sex,total-cholesterol,hdl-cholesterol,systolic-bp,egfr,diabetes,smoking-current"
    with rows.open("w") as file, outcomes.open("w") as events:
        file.write(f"{head},bp-treatment,statin\n")
        events.write("id,event\n")
        for number in range(900):
            age, systolic = random.uniform(40, 79), random.uniform(100, 190)
            sex = ("female", "male")[number % 2]
            file.write(f"p{number},{age:.1f},{sex},200,50,{systolic:.0f},90,0,0,0,0\n")
            risk = 1 / (1 + np.exp(7.5 - 0.06 * age - 0.02 * systolic))
            events.write(f"p{number},{int(random.uniform() < risk)}\n")
    return rows, outcomes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "home"


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TWINPORT_HOME", str(home))
    return Shell(home)


def key(here: Shell, tmp_path: Path, role: str) -> Path:
    ran = here("keys", "api-key", "--role", role, "--label", "test")
    assert ran.code == 0, ran.err
    file = tmp_path / f"{role}.key"
    file.write_text(ran.out.strip().splitlines()[-1])
    return file


def document_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(folder.joinpath("twin.json").read_bytes())["twin"]
    return found


def answered(here: Shell, record: Path, folder: Path) -> dict[str, Any]:
    ran = here("run", "--bundle", record, "--model", "prevent", "--out", folder)
    assert ran.code == 0, ran.err
    document = document_in(folder)
    (found,) = document["assessments"]
    return found


def value(assessment: dict[str, Any]) -> float:
    return next(
        one["value"]
        for one in assessment["results"]
        if (one["outcome"], one["horizonYears"]) == ("ascvd", 10)
    )


def test_a_local_version_is_made_switched_on_by_a_person_seen_everywhere_and_off_again(
    here: Shell, files: tuple[Path, Path], record: Path, tmp_path: Path
) -> None:
    published = answered(here, record, tmp_path / "one")
    rows, outcomes = files
    made = here(
        "models", "recalibrate", "prevent", "--in", rows, "--outcomes", outcomes,
        "--outcome", "ascvd", "--method", "logistic", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    (curve,) = made.json["curves"]
    assert curve["before"]["observedOverExpected"]["value"] > 1.5
    assert curve["after"]["observedOverExpected"]["value"] == pytest.approx(1, abs=0.05)
    assert "p17" not in made.out
    version = f"{published['model']['version']}+local.1"

    still = answered(here, record, tmp_path / "two")
    assert still["model"] == published["model"], "nothing runs that nobody switched on"

    admin = key(here, tmp_path, "admin")
    refused = here(
        "models", "local", "on", "prevent", "1", "--why", "x",
        "--key-file", key(here, tmp_path, "privacy-officer"),
    )  # fmt: skip
    assert refused.code == Exit.USAGE
    on = here(
        "models", "local", "on", "prevent", "1",
        "--why", "committee of 4 May", "--key-file", admin,
    )  # fmt: skip
    assert on.code == 0, on.err

    local = answered(here, record, tmp_path / "three")
    assert local["model"]["version"] == version
    assert value(local) > value(published)
    bundle = tmp_path.joinpath("three", "assessments.json").read_text()
    assert version in bundle, "the results that would be written back say so too"
    (listed,) = here("models", "local", "list", "--json").json
    assert listed["on"]
    (decision,) = listed["decisions"]
    assert (decision["did"], decision["why"]) == ("switched on", "committee of 4 May")
    assert decision["by"]
    assert "LOCAL VERSION" in here("models", "local", "card", "prevent", "1").out

    off = here("models", "local", "off", "prevent", "--why", "drift", "--key-file", admin)
    assert off.code == 0, off.err
    again = answered(here, record, tmp_path / "four")
    assert again["model"] == published["model"]
    (listed,) = here("models", "local", "list", "--json").json
    assert [one["did"] for one in listed["decisions"]] == ["switched on", "switched off"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["local", "on", "prevent", "99", "--why", "x"],
        ["local", "card", "no-such-model", "1"],
        ["local", "off", "kfre", "--why", "x"],
        ["silent", "no-such-model"],
    ],
)
def test_what_does_not_exist_is_one_line(here: Shell, arguments: list[str]) -> None:
    ran = here("models", *arguments)
    assert ran.code == Exit.USAGE
    assert ran.error


def test_too_few_outcomes_make_no_version(
    here: Shell, files: tuple[Path, Path], tmp_path: Path
) -> None:
    few = tmp_path / "few.csv"
    few.write_text("\n".join(files[1].read_text().splitlines()[:200]))
    ran = here("models", "recalibrate", "prevent", "--in", files[0], "--outcomes", few)
    assert ran.code == Exit.INPUT
    assert "too few" in ran.error


# -- silence -----------------------------------------------------------------------------------


def test_a_silent_model_is_recorded_and_shown_nowhere(
    here: Shell, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINPORT_MODELS__SILENT", "prevent")
    ran = here("run", "--bundle", record, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert "prevent" not in [one["model"] for one in ran.json["assessments"]]
    assert "prevent" not in tmp_path.joinpath("out", "assessments.json").read_text()
    document = document_in(tmp_path / "out")
    recorded = {one["model"]["id"]: one for one in document["assessments"]}
    assert recorded["prevent"]["silent"] is True
    assert recorded["prevent"]["results"]
    assert "silent" not in recorded["ckd-epi-2021"]
    told = here("models", "silent", "prevent")
    assert told.code == 0, told.err
    assert "fewer than 11 twins" in told.out
    assert "quantiles" not in here("models", "silent", "prevent", "--json").out


def test_the_report_of_silence_counts_no_small_cell_and_judges_with_outcomes() -> None:
    tally = _Tally("prevent")
    random = np.random.RandomState(2)
    risks = random.uniform(0.02, 0.6, 900)
    for number, risk in enumerate(risks):
        results = [{"outcome": "ascvd", "horizonYears": 10, "value": float(risk)}]
        refusals = [{"reason": "out-of-range", "input": "age"}] if number < 5 else []
        answer = {"answer": "given", "model": {"version": "1.0.0"}, "results": results}
        tally.take(f"t{number}", answer | {"refusals": refusals})
    report = tally.report()
    assert report["twins"] == 900
    assert report["refusals"] == [{"reason": "out-of-range", "input": "age", "twins": None}]
    (spread,) = report["results"]
    assert spread["quantiles"]["0.5"] == pytest.approx(np.median(risks))
    events = {f"t{i}": float(random.uniform() < risk) for i, risk in enumerate(risks)}
    judged = _judged(tally, Target("ascvd", 10), events)
    assert judged["verdict"] == "judged"
    assert judged["cStatistic"]["value"] > 0.7
