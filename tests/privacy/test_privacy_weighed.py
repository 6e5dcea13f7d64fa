"""What policies leave for the models, beside the risk: counted rightly, and nothing is lost."""

from collections import Counter
from pathlib import Path

import orjson
import pytest
from privacy_weighed import page, weighed
from support.shell import Shell

from privacy.explain import Amount
from privacy.policy import policy_ids
from service.deidentify.weigh import Answers, Seen, Weighed
from service.sandbox.testing import TEST_ANCHOR, population

ROOT = Path(__file__).parents[2]
NAN = float("nan")


def seen(
    inputs: dict[str, float],
    risk: float | None = None,
    concepts: str = "",
    numbers: dict[str, float] | None = None,
    told: str = "",
) -> Seen:
    outcomes = {} if risk is None else {"cvd": risk}
    return Seen(
        models={"m": Answers(inputs, outcomes)},
        concepts=frozenset(concepts.split()),
        numbers=numbers or {},
        told=told,
        facts=frozenset({("bp", told)}),
        amounts=Counter({Amount.KEPT: 1}),
    )


def test_what_is_lost_and_what_is_changed_are_told_apart() -> None:
    found = Weighed("p")
    before = seen({"age": 61, "sbp": 131, "egfr": NAN, "bmi": 27}, 0.1, "bp bmi", {"o": 131.26})
    after = seen({"age": 61, "sbp": 130, "egfr": NAN}, 0.11, "bp", {"o": 131.3})
    found.add(before, after, {"o": 0.1})
    told = found.as_dict()["utility"]
    assert (told["inputs"], told["inputsKept"], told["inputsSame"]) == (4, 3, 2)
    assert told["lost"] == [{"model": "m", "input": "bmi", "n": 1}]
    assert told["other"] == [{"model": "m", "input": "sbp", "n": 1}]
    assert (told["answers"], told["answersKept"], told["answersSame"]) == (1, 1, 0)
    assert (told["concepts"], told["conceptsKept"]) == (2, 1)
    assert (told["readings"], told["readingsKept"], told["clinicalPrecision"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("told", "kept", "exact"),
    [(131.26, 1, 1), (131.3, 1, 1), (131.4, 1, 0), (None, 0, 0)],
)
def test_a_reading_may_move_by_half_a_step(told: float | None, kept: int, exact: int) -> None:
    found = Weighed("p")
    numbers = {} if told is None else {"o": told}
    found.add(seen({}, numbers={"o": 131.26}), seen({}, numbers=numbers), {"o": 0.1})
    utility = found.as_dict()["utility"]
    assert (utility["readingsKept"], utility["clinicalPrecision"]) == (kept, exact)


def test_people_of_whom_a_file_says_the_same_are_alike() -> None:
    found = Weighed("p")
    for told in ("f 61", "f 61", "m 40"):
        found.add(seen({}), seen({}, told=told), {})
    risk = found.as_dict()["risk"]
    assert (risk["classes"], risk["k"], risk["alone"]) == (2, 1, 1)


@pytest.mark.slow
def test_the_command_holds_every_policy_against_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "in"
    folder.mkdir()
    person = next(one for one in population() if one.id == "demo-008")
    (folder / "one.json").write_bytes(orjson.dumps(person.bundle()))
    ran = Shell(tmp_path)("policy", "weigh", folder, "--as-of", str(TEST_ANCHOR), "--json")
    assert [one["policy"] for one in ran.json] == list(policy_ids())
    for one in ran.json:
        utility = one["utility"]
        assert one["people"] == 1
        assert utility["inputs"] == utility["inputsKept"] == utility["inputsSame"]
        assert utility["models"]["prevent"]["kept"] > 5
    assert not (tmp_path / "home" / "twinport.db").exists()  # nothing is kept


def test_a_folder_without_anybody_is_one_line(tmp_path: Path) -> None:
    """Rules that nobody knows refuse the whole Patient."""
    patient = {"resourceType": "Patient", "id": "p", "implicitRules": "http://x"}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient}]}
    (tmp_path / "none.json").write_bytes(orjson.dumps(bundle))
    ran = Shell(tmp_path)("policy", "weigh", tmp_path / "none.json")
    assert (ran.code, ran.error) == (3, "no patient of these records can be used")


@pytest.mark.slow
def test_every_input_of_every_model_survives_safe_harbor() -> None:
    (found,) = (one.as_dict() for one in weighed() if one.policy == "safe-harbor")
    utility = found["utility"]
    assert found["people"] == len(population())
    assert utility["lost"] == []
    assert utility["inputs"] == utility["inputsKept"] > 400
    # One of them was measured twice on a day, and days do not tell which came later.
    assert {row["input"] for row in utility["other"]} == {"creatinine", "egfr-ckdepi-2021"}
    assert {row["n"] for row in utility["other"]} == {1}
    # One resource is refused whole: it holds a modifierExtension that nobody knows.
    assert utility["readings"] - 1 == utility["readingsKept"] == utility["clinicalPrecision"] > 500
    assert utility["answersKept"] == utility["answers"] > 40


@pytest.mark.slow
def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "policies.md").read_text("utf-8") == page(), (
        "run: PYTHONPATH=. python tests/privacy/privacy_weighed.py > docs/policies.md"
    )
