"""Tests of the tests: with one protection taken out of the code, its own tests must go red.

What a policy says is weakened rule by rule by `tools/mutate-policies`; this is about the code.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REDS = Path(__file__).with_name("privacy_reds.py")
HOW = ["-x", "-q", "--deep", "--unshrunk", "-p", "no:cacheprovider"]
HOW += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of Hypothesis, which is loaded before
# The tests that speak of a file of the code; where others, or one of them, speak of a protection,
# it says so below.
TESTS = {
    "compile.py": "leaks.py",
    "deidentify.py": "leaks.py",
    "forms.py": "forms.py",
    "plans.py": "plans.py",
    "policy.py": "policy.py",
    "render.py": "render.py",
    "times.py": "times.py",
}
DEATH = "leaks.py::test_death_gives_the_age_at_death_and_a_relative_day"
NOBODY = "forms.py::test_of_codes_and_names_that_nobody_knows_no_form_is_remembered"
TWICE = "forms.py::test_of_a_line_that_says_a_thing_twice_nothing_is_learned"
ALMOST = "plans.py::test_what_is_almost_ordinary_goes_through_the_rules"
PLACED = "times.py::test_epochs_of_one_year_cannot_be_told_apart_by_year_dates"
SHIFTED = "times.py::test_two_epochs_shift_month_dates_by_whole_cells"
DROPPED = "times.py::test_dates_that_would_give_the_epoch_or_an_age_away_are_dropped"
DIGITS = "render.py::test_a_value_has_no_more_digits_than_mean_anything"
ELSEWHERE = {
    "forms remember codes that nobody knows": NOBODY,
    "forms remember names that nobody published": NOBODY,
    "forms lose keys that stand twice": TWICE,
    "forms take any number": "forms.py::test_numbers_are_those_of_the_parser",
    "plans take ages as quantities": ALMOST,
    "plans take any number": ALMOST,
    "plans take any code": ALMOST,
    "years are placed at their first day": PLACED,
    "months are placed at their first day": SHIFTED,
    "placeholders pass": DROPPED,
    "old events pass": DROPPED,
    "far dates pass": DROPPED,
    "ids pass": "plans.py",
    "plans take other people": ALMOST,
    "a time of day under days": DEATH,
    "rare codes pass": "rarity.py",
    "codes are told as finely as they come": "rarity.py",
    "numbers in files are not rounded": "render.py::test_other_numbers_keep_four_digits",
    "values in files are not rounded as their concept says": DIGITS,
}

# What is taken out: file, the code as it is, the code without the protection.
MUTANTS = {
    "unknown elements pass": (
        "compile.py",
        "                if rule is None:\n                    session.hits[unknown] += 1\n"
        "                else:\n                    result",
        "                if rule is None:\n                    kept[key] = value\n"
        "                else:\n                    result",
    ),
    "rare codes pass": (
        "compile.py",
        "rare = None if self.guards.needed_code(system, code) else parent_of(system, code)",
        "rare = None",
    ),
    "codes are told as finely as they come": (
        "compile.py",
        "return rare or self.guards.general_code(system, code)",
        "return rare or code",
    ),
    "numbers in files are not rounded": (
        "render.py",
        "return round(number, digits - 1 - math.floor(math.log10(abs(number))))",
        "return number",
    ),
    "forms remember codes that nobody knows": (
        "forms.py",
        "judge.require_kept(cut.path for cut in cuts if not cut.out)",
        "pass",
    ),
    "forms remember names that nobody published": (
        "forms.py",
        " or not published().issuperset(names)",
        "",
    ),
    "forms lose keys that stand twice": (
        "forms.py",
        """ or residue.count(b'":') != len(names)""",
        "",
    ),
    "forms take any number": (
        "forms.py",
        '"number": (number_check, "{value}")',
        '"number": (None, "{value}")',
    ),
    "values in files are not rounded as their concept says": (
        "render.py",
        "exact = 0 if decimals is None else rounded(number, decimals)",
        "exact = number",
    ),
    "modifier extensions are ignored": (
        "compile.py",
        'raise Refusal(path, "refused-element")',
        "session.hits[empty] += 1",
    ),
    "any string is a code": (
        "compile.py",
        "if type(source) is str and source in codes:",
        "if type(source) is str:",
    ),
    "unknown codes pass": (
        "compile.py",
        "if found is None and self.known_code(system, code):",
        "if found is None:",
    ),
    "unknown units pass": (
        "compile.py",
        'if type(unit) is str and "unit" in judged and known_unit(unit):',
        "if type(unit) is str:",
    ),
    "numbers are not checked": (
        "compile.py",
        "if (kind is float or kind is int) and -LARGEST < source < LARGEST:",
        "if kind is not None:",
    ),
    "ids pass": ("compile.py", "return session.pseudonym(resource_type, source)", "return source"),
    "ages are not top-coded": ("compile.py", "return min(years, top)", "return years"),
    "ages of the very old stay": ("compile.py", "if own and session.top_coded:", "if False:"),
    "quantities of years are not top-coded": (
        "compile.py",
        'if years and "value" in kept and',
        'if False and "value" in kept and',
    ),
    "observed ages are not looked at": (
        "compile.py",
        "if not special or kept is None:",
        "if True:",
    ),
    "contained medication with a modifier": (
        "compile.py",
        'and not item.get("modifierExtension")',
        "",
    ),
    "extension URLs are repeated": (
        "compile.py",
        "f\"drop:{name or 'extension'}\"",
        'f"drop:{name or url}"',
    ),
    "references pass": (
        "deidentify.py",
        'f"{kind}/{self.pseudonym(kind, identity)}"',
        'f"{kind}/{identity}"',
    ),
    "another patient's resources pass": (
        "deidentify.py",
        'if target.mine or target.reason in {"contained", "no-literal"}:',
        "if True:",
    ),
    "another patient passes": (
        "deidentify.py",
        'if resource.get("id") != self._subject.patient_id:',
        "if False:",
    ),
    "type names are repeated": (
        "deidentify.py",
        'known = name if type(name) is str and name in RESOURCE_TYPES else "unknown"',
        "known = str(name)",
    ),
    "years are placed at their first day": (
        "times.py",
        "return round((first.year - epoch.year) * YEAR_DAYS * self._day)",
        "return (first - epoch).days * self._day",
    ),
    "months are placed at their first day": (
        "times.py",
        "return round(months * MONTH_DAYS * self._day)",
        "return (first - epoch).days * self._day",
    ),
    "placeholders pass": ("times.py", "if first in self._rules.placeholders", "if False"),
    "old events pass": ("times.py", "if value < self._oldest:", "if False:"),
    "far dates pass": ("times.py", "if value > self._future:", "if False:"),
    "a time of day under days": (
        "times.py",
        'day = moment.precision == "minute" and self._rules.unit == "d"',
        "day = False",
    ),
    "plans take any shape": ("plans.py", "not self._keys.issuperset(shape)", "False"),
    "plans take unknown codes": (
        "plans.py",
        "return None, slots(display, texted, UNKNOWN)",
        'return {"system": system, "code": code}, slots(display, texted, UNKNOWN)',
    ),
    "plans take codings with more in them": ("plans.py", "keys != 2 + display or outer", "outer"),
    "plans take concepts with more in them": ("plans.py", " or outer != 1 + texted", ""),
    "plans take quantities with more in them": (
        "plans.py",
        " or key[3] != 1 + len(given)",
        "",
    ),
    "plans take ages as quantities": ("plans.py", "parts != given or years", "parts != given"),
    "plans take any number": (
        "plans.py",
        'return f"if {kinds} or not',
        'return f"if False and not',
    ),
    "plans take any code": (
        "plans.py",
        "            if key[0] not in codes:",
        "            if False:",
    ),
    "plans take references with more in them": (
        "plans.py",
        "known[key[0]]",
        "known.get(key[0], [one])",
    ),
    "plans take other people": (
        "deidentify.py",
        "        if not self.reference(text).mine:\n            raise Odd\n",
        "",
    ),
    "plans count before they have looked": (
        "plans.py",
        "            if not self.whole:\n",
        "            if False:\n",
    ),
    "an unjudged element is no error": (
        "policy.py",
        "    if rules - used:",
        "    if False:",
    ),
    "a verdict may judge anything": (
        "policy.py",
        "    if kind not in FITS.get(action, frozenset()):",
        "    if False:",
    ),
}


Red = Callable[[Path, str], bool]


@pytest.fixture(scope="module")
def goes_red() -> Iterator[Red]:
    """Whether tests fail over a changed copy of the room."""
    with subprocess.Popen(
        [sys.executable, str(REDS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield partial(_red, process)


def _red(process: "subprocess.Popen[str]", folder: Path, tests: str) -> bool:
    assert process.stdin is not None
    assert process.stdout is not None
    said, file = folder / "said.txt", ROOT / "tests" / "privacy" / f"test_privacy_{tests}"
    line = json.dumps([str(folder), str(said), [*HOW, str(file)]])
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    ended = int(process.stdout.readline())
    assert ended in {0, 1}, said.read_text("utf-8")
    return ended == 1


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The room alone, where the interpreter looks first."""
    shutil.copytree(ROOT / "privacy", tmp_path / "privacy")
    return tmp_path


@pytest.mark.slow
def test_the_tests_pass_on_an_unchanged_copy(copy: Path, goes_red: Red) -> None:
    assert not goes_red(copy, "policy.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_without_the_protection_its_tests_go_red(name: str, copy: Path, goes_red: Red) -> None:
    file, present, without = MUTANTS[name]
    path = copy / "privacy" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(present) == 1, "the code has moved on: renew the mutant"
    path.write_text(text.replace(present, without), encoding="utf-8")
    assert goes_red(copy, ELSEWHERE.get(name, TESTS[file]))
