"""`twinport explain`."""

from pathlib import Path

from cli_records import Home
from support.shell import Shell


def test_a_value_is_told_with_its_time_its_source_and_its_conversion(
    twinport: Shell, home: Home
) -> None:
    said = twinport("explain", home.second, "total-cholesterol")
    assert said.code == 0
    assert "Total cholesterol (number total-cholesterol, in mg/dL)" in said.out
    assert "*value      201 mg/dL, 3 months before; Observation " in said.out
    assert "came in mmol/L: x 38.6" in said.out
    assert "record     Observation: complete" in said.out
    assert "read by    prevent" in said.out


def test_json_holds_the_same(twinport: Shell, home: Home) -> None:
    said = twinport("explain", home.second, "total-cholesterol", "--json").json
    (one,) = said["explanations"]
    assert one["values"][0]["conversion"]["arrived"] == "mmol/L"
    assert one["latest"]["value"] == 201
    assert said["version"] == 2


def test_a_condition_says_whether_it_is_there_and_since_when(twinport: Shell, home: Home) -> None:
    said = twinport("explain", home.second, "hypertension").out
    assert "now        yes: recorded, first " in said
    assert "current    snomed 38341003, about " in said


def test_a_value_set_aside_is_told_with_its_rule(twinport: Shell, home: Home) -> None:
    said = twinport("explain", home.second, "haemoglobin").out
    assert "latest     none: the newest value can't be used" in said
    assert "(implausible); Observation " in said


def test_an_unknown_name_is_a_mistake_in_the_command_line(twinport: Shell, home: Home) -> None:
    said = twinport("explain", home.second, "cholesterl")
    assert (said.code, said.out) == (2, "")
    assert "did you mean" in said.err


def test_a_changed_file_is_not_explained(twinport: Shell, home: Home, tmp_path: Path) -> None:
    forged = tmp_path / "twin.json"
    forged.write_bytes(home.second.read_bytes().replace(b'"v":[201]', b'"v":[101]'))
    said = twinport("explain", forged, "total-cholesterol", "--keys", home.keys)
    assert (said.code, said.out) == (7, "")
