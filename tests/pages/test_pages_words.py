"""Words: every code that can reach a page has a name, and numbers keep no false digits."""

from pathlib import Path

import pytest
import yaml

from mappings import vocabulary
from service.pages import words
from service.pages.words import WORDS
from twin_engine.equations import library
from twin_engine.models.cards import card
from twin_engine.models.contract import REASONS
from twin_engine.models.registry import all_models

MODELS = list(all_models().values())
USUAL = [model for model in MODELS if not model.on_request]  # what a twin is asked unless named


@pytest.mark.parametrize("model", USUAL, ids=lambda model: model.id)
def test_every_model_input_and_outcome_has_both_names(model) -> None:
    assert WORDS["model", model.id].plain
    assert WORDS["omits", model.id].plain
    for name in model.inputs:
        assert WORDS["input", name].label, name
        assert WORDS["input", name].plain, name
    for outcome in card(model)["outcomes"]:
        assert words.everyday_outcome(outcome["outcome"], card(model)) != outcome["label"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_a_model_without_words_of_ours_is_named_by_its_card(model) -> None:
    found = card(model) | {"id": "no-words-of-ours"}
    assert words.model_title(model.id, found) == model.title
    for outcome in found["outcomes"]:
        ours = ("outcome", outcome["outcome"]) in WORDS
        assert ours or words.outcome(outcome["outcome"], found) == outcome["label"]


def categories(model) -> list[dict]:
    path = Path(library.__file__).parent / model.id / "model.yaml"
    if not path.is_file():  # a class, whose card says what its bands mean
        return []
    return yaml.safe_load(path.read_text(encoding="utf-8")).get("categories", [])


@pytest.mark.parametrize("model", USUAL, ids=lambda model: model.id)
def test_every_band_is_printed_with_its_limits_and_who_defined_it(model) -> None:
    for category in categories(model):
        for band in category["bands"]:
            named = {"scheme": category["scheme"], "code": band["code"]}
            word, limits = words.band(named, card(model)).split(" · ")
            assert any(letter.isdigit() for letter in word + limits)


def test_guidance_is_printed_as_its_sentence_with_strength_and_source() -> None:
    found = {"scheme": "cpic-simvastatin", "code": "other-statin"}
    told = words.band(found, card(next(m for m in MODELS if m.id == "pgx")))
    assert told.startswith("Another statin. · strong recommendation · CPIC guideline for statins")


def test_a_band_that_is_not_ours_is_explained_by_the_card() -> None:
    found = {"fields": {"categories": ["3 and more: high (its authors)."]}}
    assert words.band({"scheme": "x", "code": "high"}, found) == (
        "High · 3 and more: high (its authors)."
    )


def test_every_reason_is_told_in_everyday_words() -> None:
    assert {code for kind, code in WORDS if kind == "reason"} == set(REASONS)
    assert all(WORDS["reason", reason].plain for reason in REASONS)


def test_every_illness_named_in_everyday_words_exists() -> None:
    named = {code for kind, code in WORDS if kind == "condition"} - {"outside-our-groups"}
    assert named <= set(vocabulary.condition_labels())


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.1423, "14 %"), (0.0357, "4 %"), (0.01, "1 %"), (0.0043, "0.4 %"), (0.0, "0.0 %")],
)
def test_percent_is_whole_from_one_upwards(probability: float, text: str) -> None:
    assert words.percent(probability) == text


@pytest.mark.parametrize(
    ("offset", "precision", "text"),
    [
        (812, "day", "same day"),
        (811, "day", "1 day before"),
        (794, "day", "18 days before"),
        (602, "month", "about 7 months before"),
        (-400, "year", "about 3.3 years before"),
        (813, "day", "after this twin's now"),
    ],
)
def test_time_is_told_as_roughly_as_it_is_known(offset: int, precision: str, text: str) -> None:
    assert words.ago(offset, 812, "d", precision) == text


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ({"age": 90, "ageTopCoded": True}, "90 years or older"),
        ({"age": 0}, "under 1 year"),
        ({"age": 1}, "1 year"),
        ({}, "age unknown"),
    ],
)
def test_ages(subject: dict[str, object], text: str) -> None:
    assert words.age(subject) == text


def test_lists_and_counts() -> None:
    assert words.listed([]) == ""
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.counted(1, "reading") == "1 reading"
    assert words.counted(2345, "reading") == "2,345 readings"


def test_an_unknown_code_is_still_readable() -> None:
    assert words.word("outcome", "new-outcome") == "New outcome"
    assert words.concept("no-such-concept") == "No such concept"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, ""),
        ({"dose": 20, "doseUnit": "mg"}, "20 mg"),
        ({"dose": 0.025, "doseUnit": "mg", "timesPerDay": 1}, "0.025 mg, once a day"),
        ({"dose": 2, "doseUnit": "tablet", "timesPerDay": 3}, "2 tablets, 3 times a day"),
        ({"dose": 0.5, "doseUnit": "tablet"}, "0.5 tablet"),
        ({"dose": 1000, "doseUnit": "[IU]", "timesPerDay": 0.143}, "1000 IU, every 7 days"),
        ({"timesPerDay": 0.5}, "every 2 days"),
        ({"timesPerDay": 1.5}, ""),
    ],
)
def test_what_is_taken(entry: dict, told: str) -> None:
    assert words.taken(entry) == told
