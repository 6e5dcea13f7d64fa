"""`twinport policy`: no database and no keys are needed to read what is decided."""

from pathlib import Path

from support.shell import Shell

from privacy.policy import load_policy


def test_the_list_says_which_policies_make_twins(tmp_path: Path) -> None:
    said = Shell(tmp_path)("policy", "list", "--json").json
    assert {item["id"]: item["twins"] for item in said} == {
        "date-shift": False,
        "limited-data-set": False,
        "relative-minutes": True,
        "safe-harbor": True,
    }
    assert "files only" in Shell(tmp_path)("policy", "list").out


def test_show_states_what_is_supported_and_what_is_not(tmp_path: Path) -> None:
    said = Shell(tmp_path)("policy", "show", "limited-data-set").out
    assert "164.514(e)" in said
    assert "Does not support  De-identification" in said
    verdicts = Shell(tmp_path)("policy", "show", "safe-harbor", "--json").json["verdicts"]
    assert verdicts["Patient.name"] == "drop: [A] name"


def test_show_lists_what_is_decided_about_dicom_attributes(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    policy = load_policy("safe-harbor")
    told = shell("policy", "show", "safe-harbor", "--json").json["dicom"]
    assert {name.removeprefix("DICOM.") for name in told} == policy.dicom.keys()
    assert told["DICOM.KVP"] == "number"
    assert told["DICOM.StudyInstanceUID"].startswith("compare")
    said = shell("policy", "show", "safe-harbor").out
    words = said.partition("DICOM attributes")[2].replace(",", " ").split()
    assert policy.dicom.keys() <= set(words)


def test_a_difference_is_told_in_words(tmp_path: Path) -> None:
    said = Shell(tmp_path)("policy", "diff", "safe-harbor", "relative-minutes")
    assert said.out == "unit of time\n    safe-harbor: d\n    relative-minutes: min\n"
    assert Shell(tmp_path)("policy", "diff", "safe-harbor", "safe-harbor").out == "no difference\n"


def test_explain_names_rule_and_reason_and_helps_with_a_misspelling(tmp_path: Path) -> None:
    said = Shell(tmp_path)("policy", "explain", "Patient.telecom").out
    assert "identifier D: Telephone numbers" in said
    wrong = Shell(tmp_path)("policy", "explain", "Patient.telephone")
    assert wrong.code == 2
    assert "did you mean telecom" in wrong.err


def test_a_policy_of_ones_own_is_checked_like_a_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'inherits = "safe-harbor"\nid = "own"\n[elements.Patient]\ngender = "drop: here"\n'
    )
    assert Shell(tmp_path)("policy", "check", own).out.startswith("complete  own v")
    own.write_text('inherits = "safe-harbor"\n[elements.Patient]\ngander = "drop: here"\n')
    wrong = Shell(tmp_path)("policy", "check", own)
    assert wrong.code == 3
    assert "[elements.Patient] gander matches nothing" in wrong.err
    own.write_text("not = toml = at all")
    assert Shell(tmp_path)("policy", "check", own).code == 3
