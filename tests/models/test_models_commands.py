"""`twinport whatif` and `twinport models check` as a person uses them."""

from pathlib import Path

import orjson
import pytest
from support.shell import Shell

from service.cli.exits import Exit
from service.sandbox.testing import TEST_ANCHOR, population

ADVICE = ("should", "recommend", "you will", "your risk will", "advise", "must take")


def test_what_if_prints_the_grade_beside_every_number(shell: Shell, twin: Path) -> None:
    ran = shell("whatif", twin, "--set", "systolic-bp=100", "--set", "smoking-current=0")
    assert (ran.code, ran.err) == (0, "")
    results = [line for line in ran.out.splitlines() if " % -> " in line]
    assert results
    assert all("[association-only]" in line for line in results)
    assert "not what would happen" in ran.out


def test_a_treatment_prints_its_trials_and_harms(shell: Shell, twin: Path) -> None:
    ran = shell("whatif", twin, "--treatment", "lower-ldl-1")
    assert ran.code == 0
    assert "[randomised]" in ran.out
    assert "Lancet 2010;376:1670-1681" in ran.out
    assert "Muscle pain" in ran.out
    assert "in trials, of 100 people like those studied" in ran.out


@pytest.mark.parametrize(
    "arguments", [["--set", "systolic-bp=100"], ["--treatment", "lower-sbp-10"]]
)
def test_nothing_is_worded_as_advice(shell: Shell, twin: Path, arguments: list[str]) -> None:
    told = shell("whatif", twin, *arguments).out.lower()
    assert not [word for word in ADVICE if word in told]


def test_the_same_for_a_program(shell: Shell, twin: Path) -> None:
    found = shell("whatif", twin, "--set", "systolic-bp=100", "--json").json
    assert found["grade"] == "association-only"
    assert found["changes"][0]["to"] == 100


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--set", "systolic-bp"],
        ["--set", "systolic-bp=100", "--set", "systolic-bp=110"],
        ["--set", "systolic-bp=high"],
        ["--set", "systolic-bp=100", "--treatment", "lower-ldl-1"],
        ["--treatment", "nothing"],
        ["--model", "nothing", "--set", "systolic-bp=100"],
    ],
)
def test_a_wrong_question_is_one_line(shell: Shell, twin: Path, arguments: list[str]) -> None:
    ran = shell("whatif", twin, *arguments)
    assert ran.code == Exit.USAGE
    assert ran.error


def test_a_changed_twin_is_not_asked(shell: Shell, twin: Path, tmp_path: Path) -> None:
    other = tmp_path / "twin.json"
    other.write_bytes(twin.read_bytes().replace(b"systolic-bp", b"diastolic-b"))
    assert shell("whatif", other, "--set", "systolic-bp=100").code == Exit.NOT_VERIFIED


# -- models check ------------------------------------------------------------------------------


def test_an_installed_model_is_checked_by_its_id(shell: Shell) -> None:
    ran = shell("models", "check", "fib4")
    assert ran.code == 0
    assert ran.out.startswith("fib4 1.0.0: conforms")


def test_a_module_is_checked_by_its_name(shell: Shell) -> None:
    ran = shell("models", "check", "twin_engine.models.shipped", "--json")
    assert ran.code == 0
    assert {one["model"] for one in ran.jsons} >= {"prevent", "news2"}


@pytest.mark.parametrize("name", ["no-such-model", "no.such.module", "json"])
def test_what_is_neither_is_said_so(shell: Shell, name: str) -> None:
    ran = shell("models", "check", name)
    assert ran.code == Exit.USAGE
    assert ran.error


def test_what_does_not_conform_is_listed(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "upside_down.py").write_text(
        "from twin_engine.models.equation_model import EquationModel, equation_model\n"
        "class Upside(EquationModel):\n"
        "    def compute(self, columns, variant, targets):\n"
        "        return 1000 - super().compute(columns, variant, targets)\n"
        "def models():\n"
        "    return [Upside(equation_model('fib4').equation)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    ran = shell("models", "check", "upside_down")
    assert ran.code == Exit.INPUT
    assert "moves_as_declared" in ran.out


# -- settings ----------------------------------------------------------------------------------


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A woman of 54 with complete inputs."""
    one = next(person for person in population(TEST_ANCHOR) if person.id == "demo-001")
    file = tmp_path / "record.json"
    file.write_bytes(orjson.dumps(one.bundle()))
    return file


def answered(shell: Shell, record: Path) -> set[str]:
    ran = shell("run", "--bundle", record, "--json")
    assert ran.code == 0, ran.err
    return {one["model"] for one in ran.json["assessments"] if one["answer"] != "refused"}


def test_a_region_stated_in_the_configuration_lets_its_model_run(
    shell: Shell, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "score2" not in answered(shell, record)
    monkeypatch.setenv("TWINPORT_MODELS__SETTINGS__REGION_SCORE2", "moderate")
    assert "score2" in answered(shell, record)


@pytest.mark.parametrize("line", ['region-score2 = "north"', 'regoin-score2 = "low"'])
def test_a_setting_that_no_model_knows_stops_the_run(
    shell: Shell, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    file = tmp_path / "twinport.toml"
    file.write_text(f"[models.settings]\n{line}\n")
    monkeypatch.setenv("TWINPORT_CONFIG", str(file))
    ran = shell("run", "--bundle", record, "--json")
    assert ran.code != Exit.OK
    assert "models.settings" in ran.error
