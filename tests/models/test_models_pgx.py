"""CPIC guidance: every row of the tables, what is refused, and what a twin makes of it."""

from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_twins import ONE_SLICE, condition, document, state
from support.depth import examples

from mappings.vocabulary import genomics
from twin_engine.document.schema import check
from twin_engine.equations.library import read_table
from twin_engine.models.assess import assess, recompute
from twin_engine.models.cards import card, markdown
from twin_engine.models.check import findings
from twin_engine.models.pgx import GENE_OF, Pgx, meaning, recommendations
from twin_engine.models.registry import default_models, get
from twin_engine.models.rows import run_rows
from twin_engine.state import State

SOURCES, VECTORS = read_table(
    files("twin_engine.models.pgx").joinpath("vectors.csv").read_text(encoding="utf-8")
)


def gene(name: str, src: int = 9, **more: Any) -> dict[str, Any]:
    return {"gene": name, "src": src, **more}


def answers(*, procedures_seen: bool = True, **variations: Any) -> dict[str, Any]:
    twin = document(**variations)
    if procedures_seen:
        twin["completeness"]["slices"].append(
            {"type": "Procedure", "verdict": "complete", **ONE_SLICE}
        )
    (found,) = assess(State(twin), ["pgx"])
    check({**twin, "assessments": [found]})
    return found


def results(found: dict[str, Any]) -> dict[str, str]:
    return {one["outcome"]: one["category"]["code"] for one in found["results"]}


def reasons(found: dict[str, Any]) -> dict[str, str]:
    return {one["outcome"]: one["reason"] for one in found["refusals"]}


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])
def test_every_vector_is_reproduced(row: dict[str, str]) -> None:
    assert row["source"] in SOURCES
    cells = {row["gene"]: row["result"], "stroke-tia": row["stroke-tia"], "age": row["age"]}
    found = next(one for one in run_rows("pgx", [cells]) if one["outcome"] == row["outcome"])
    assert found["refusal"] == row["refusal"]
    if not row["refusal"]:
        code = row["code"]
        said = card(get("pgx"))["bands"][f"cpic-{row['outcome']}"][code]
        assert said["strength"] == row["strength"]
        usual = code in ("label-dose", "standard-dose", "usual-dose", "no-recommendation")
        assert found["value"] == (not usual)


def test_it_keeps_the_contract() -> None:
    assert findings(Pgx()) == []


# -- on a twin ---------------------------------------------------------------------------------


def test_a_diplotype_becomes_what_the_guideline_says() -> None:
    found = answers(genomics=[gene("CYP2C19", diplotype=["*2", "*2"])])
    assert results(found) == {
        "clopidogrel-acs-pci": "avoid", "clopidogrel-cardiovascular": "avoid",
        "clopidogrel-neurovascular": "avoid",
    }  # fmt: skip
    assert reasons(found)["simvastatin"] == "missing-input"
    used = {one["input"]: one for one in found["inputs"]}
    assert used["cyp2c19"] == {
        "input": "cyp2c19", "value": "poor-metabolizer", "src": [9], "how": "derived",
    }  # fmt: skip
    assert found["results"][0]["intervalRefused"] == "nothing-measured"


@pytest.mark.parametrize(
    "variation",
    [
        {"conditions": [condition("tia", clinical="resolved")]},
        {"incomplete": ("Condition",)},
    ],
)
def test_prasugrel_is_named_only_where_a_stroke_is_ruled_out(variation: dict[str, Any]) -> None:
    found = answers(genomics=[gene("CYP2C19", diplotype=["*1", "*2"])], **variation)
    assert results(found)["clopidogrel-acs-pci"] == "alternative-not-prasugrel"
    bands = card(get("pgx"))["bands"]["cpic-clopidogrel-acs-pci"]
    assert "Prasugrel is not named" in bands["alternative-not-prasugrel"]["text"]


def test_a_reported_phenotype_is_enough_and_must_not_contradict_the_diplotype() -> None:
    reported = [gene("CYP2C19", phenotype="poor-metabolizer")]
    found = answers(genomics=reported)
    assert results(found)["clopidogrel-cardiovascular"] == "avoid"
    assert next(one for one in found["inputs"] if one["input"] == "cyp2c19")["how"] == "coded"
    wrong = answers(genomics=[*reported, gene("CYP2C19", 10, diplotype=["*1", "*1"])])
    assert reasons(wrong)["clopidogrel-cardiovascular"] == "set-aside-input"
    same = answers(genomics=[*reported, gene("CYP2C19", 10, diplotype=["*2", "*3"])])
    assert results(same)["clopidogrel-cardiovascular"] == "avoid"


@pytest.mark.parametrize(
    ("alleles", "reason"),
    [
        (("*1", "*12"), "indeterminate-result"),
        (("*1", "*99"), "allele-not-current"),
    ],
)
def test_no_function_is_assumed(alleles: tuple[str, str], reason: str) -> None:
    found = answers(genomics=[gene("CYP2C19", diplotype=list(alleles))])
    assert reasons(found)["clopidogrel-acs-pci"] == reason
    assert found["results"] == []


def test_the_genes_of_a_donor_are_not_the_person_s() -> None:
    transplant = {
        "group": "bone-marrow-transplant", "system": "snomed", "code": "23719005",
        "status": "completed", "src": 11,
    }  # fmt: skip
    given_ = [gene("CYP2C19", diplotype=["*2", "*2"])]
    found = answers(genomics=given_, procedures=[transplant])
    assert set(reasons(found).values()) == {"donor-genes"}
    unseen = answers(genomics=given_, procedures_seen=False)
    assert set(reasons(unseen).values()) == {"absence-not-proven"}
    assert found["results"] == unseen["results"] == []


def test_statins_are_for_adults() -> None:
    given_ = [gene("SLCO1B1", diplotype=["*5", "*5"])]
    assert results(answers(genomics=given_))["simvastatin"] == "other-statin"
    child = answers(genomics=given_, subject={"age": 17})
    assert reasons(child)["simvastatin"] == "no-equation"


def test_it_runs_by_itself_where_a_twin_has_genes_and_stays_silent_where_not() -> None:
    assert get("pgx") in default_models()
    with_genes = state(genomics=[gene("CYP2C19", diplotype=["*1", "*1"])])
    assert "pgx" in [one["model"]["id"] for one in assess(with_genes)]
    assert "pgx" not in [one["model"]["id"] for one in assess(state())]
    (named,) = assess(state(), ["pgx"])
    assert named["answer"] == "refused"


def test_a_receiver_gets_the_same() -> None:
    twin = state(genomics=[gene("DPYD", diplotype=["reference", "c.1905+1G>A"])])
    whole = {**twin.document, "assessments": assess(twin, ["pgx"])}
    assert [one.outcome for one in recompute(whole)] == ["same"]


# -- tables ------------------------------------------------------------------------------------


def test_every_row_names_a_result_that_a_gene_can_have() -> None:
    model = Pgx()
    for outcome, result, _ in recommendations():
        assert result in model.inputs[GENE_OF[outcome].lower()].choices


def test_one_code_has_one_sentence() -> None:
    said: dict[tuple[str, str], str] = {}
    for (outcome, _, _), one in recommendations().items():
        assert said.setdefault((outcome, one.code), one.sentence) == one.sentence
        assert one.strength in ("strong", "moderate", "none")


@settings(max_examples=examples(150))
@given(st.data())
def test_the_order_of_alleles_says_nothing_and_every_meaning_is_declared(data: Any) -> None:
    name = data.draw(st.sampled_from(genomics.TABLED))
    known = st.sampled_from([one.name for one in genomics.alleles(name)])
    first, second = data.draw(known), data.draw(known)
    one = genomics.diplotype(f"{name} {first}/{second}")
    other = genomics.diplotype(f"{name} {second}/{first}")
    assert one is not None
    assert one == other
    assert meaning(one) in Pgx().inputs[name.lower()].choices


def test_the_card_says_whose_words_these_are() -> None:
    page = markdown(get("pgx"))
    assert "CC0" in page
    assert "own words" in page
