"""`twinport diff`: what changed, in words and as data."""

from pathlib import Path

import orjson
from cli_records import Home, record
from support.shell import Shell


def test_added_corrected_and_withdrawn_facts_are_told_in_words(twinport: Shell, home: Home) -> None:
    said = twinport("diff", home.first, home.second).out
    assert "version 1 to 2\n" in said
    assert "  added      Observation " in said
    assert "           + Systolic blood pressure 141 mmHg, same day" in said
    assert "           - Creatinine 0.9 mg/dL, 3 months before\n" in said
    assert "           + Creatinine 1.1 mg/dL, 3 months before, corrected\n" in said
    assert "(no longer returned by a complete answer)" in said
    assert "           - Diagnosis (snomed 444814009), 3.4 years before" in said


def test_answers_that_changed_are_told_with_what_they_rested_on(
    twinport: Shell, home: Home
) -> None:
    said = twinport("diff", home.first, home.second).out
    assert "answer     ckd-epi-2021 " in said
    assert "% Creatinine: " in said, "which input moved the answer, and how much of it"
    assert "superseded ckd-epi-2021" in said


def test_the_order_of_the_files_does_not_matter(twinport: Shell, home: Home) -> None:
    forth = twinport("diff", home.first, home.second).out
    assert twinport("diff", home.second, home.first).out == forth


def test_json_holds_the_same(twinport: Shell, home: Home) -> None:
    found = twinport("diff", home.first, home.second, "--json").json
    assert (found["from"], found["to"], found["direct"]) == (1, 2, True)
    (corrected,) = found["corrected"]
    assert corrected["before"][0]["v"] == 0.9
    assert corrected["after"][0] | {"t": 0} == {
        "part": "signals",
        "concept": "creatinine",
        "t": 0,
        "v": 1.1,
        "status": "corrected",
    }
    assert [change["why"] for change in found["withdrawn"]] == ["no-longer-returned"]
    assert [fact["v"] for change in found["added"] for fact in change["after"]] == [141]
    assert "ckd-epi-2021" in found["restedOnIt"]


def test_a_version_beside_itself_shows_no_difference(twinport: Shell, home: Home) -> None:
    assert "no difference" in twinport("diff", home.first, home.first).out


def test_two_persons_do_not_compare(twinport: Shell, home: Home, tmp_path: Path) -> None:
    other = orjson.loads(orjson.dumps(record()).replace(b'"p1"', b'"p2"').replace(b"/p1", b"/p2"))
    entries = [{"resource": resource} for resource in other]
    bundle = tmp_path / "other.json"
    bundle.write_bytes(
        orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
    )
    twinport("run", "--bundle", bundle, "--out", tmp_path / "other")
    said = twinport("diff", home.first, tmp_path / "other" / "twin.json")
    assert (said.code, said.out) == (3, "")
    assert "two different twins" in said.error
