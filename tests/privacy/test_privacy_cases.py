"""The 56 leaks seen in real de-identification tools, by number, and what proves them shut.

Most are fixtures of `test_privacy_leaks.py` whose names begin with the number: a marker goes in and
must not come out. What takes more than one resource is proved by the tests named here.
"""

import ast
import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from privacy_support import observation, session
from test_privacy_leaks import CASES, REFUSED

from privacy.ledger import canonical, twin_entry

TESTS = Path(__file__).parents[1]

LEAKS: dict[int, str] = {
    1: "dosage text that names the patient",
    2: "the patient's instruction",
    3: "a series UID that holds a date or a number of the record",
    4: "an instance UID",
    5: "the study's UID as an identifier",
    6: "the text of a component's reference range",
    7: "meta.source, the address of a hospital",
    8: "version counters; implicit rules",
    9: "an absolute, versioned reference",
    10: "a host with a hyphen gives one person two pseudonyms",
    11: "a Bundle's ifNoneExist with the record number",
    12: "a Bundle's links with a name",
    13: "references by urn:uuid that lead nowhere afterwards",
    14: "references of odd forms",
    15: "displays of people, and of who gave an identifier",
    16: "a coding's display that names the patient",
    17: "text without a code",
    18: "a local code that is a name",
    19: "free strings: values, notes, conclusions",
    20: "the narrative, its comments, entities and links",
    21: "extensions: nested, of primitives, of their own address",
    22: "modifier extensions stripped instead of refused",
    23: "contained resources of people and devices",
    24: "elements that do not exist, keys that look alike, input that is no JSON",
    25: "lists of primitives whose extensions are misaligned",
    26: "photographs and attachments, their hashes included",
    27: "serial numbers and names of devices",
    28: "the birth date of somebody over 90, also told by other dates",
    29: "who died at 65 taken for 90 by today's clock",
    30: "ages in other units, ranges, observations and words",
    31: "partial dates, zones, leap days, fractions of a second",
    32: "several types of one patient moved by different amounts",
    33: "one date that is known opens those of other people",
    34: "postal codes of few people or of other countries",
    35: "cities and districts, and states as small as one",
    36: "what an identifier is of, for and since when",
    37: "an id that is the record number, in addresses, errors and logs",
    38: "one id of two types with one pseudonym",
    39: "hashes of record numbers that a dictionary opens",
    40: "a key that is empty, a default or published",
    41: "file names, metrics, exceptions, logs",
    42: "an error in one element that lets it pass",
    43: "types that no rule names",
    44: "a rule whose path is misspelled",
    45: "labels of sensitivity wiped with the rest",
    46: "the people, places and courtesies of a visit",
    47: "multiple births and other rarities of a person",
    48: "rare diagnoses",
    49: "exact values that are found again in the source",
    50: "questionnaires and documents fetched on the way",
    51: "results that hold the pseudonym beside the patient's id, or text",
    52: "a server's own words about a patient",
    53: "documents before and after a new key linked with each other",
    54: "hashes of identifiers in the record of what was done",
    55: "two patients at once with one zero or one pseudonym",
    56: "another patient's resource in the answer",
}

# Besides the fixtures: what is proved by more than one resource, or by the service. The number, the
# file and the test, both without the `test_` of their names.
PROVED = """
 9 privacy_leaks a_resource_keeps_its_pseudonym_over_every_form_of_reference
10 privacy_leaks a_host_with_a_hyphen_is_a_host
11 deidentify_files a_bundle_stays_a_bundle_whose_references_lead_somewhere
12 deidentify_files a_bundle_stays_a_bundle_whose_references_lead_somewhere
13 deidentify_files a_bundle_stays_a_bundle_whose_references_lead_somewhere
13 privacy_render references_inside_a_bundle_lead_to_its_entries
21 privacy_leaks everything_that_happens_is_counted_by_path_and_action
24 fhir_bundle what_cannot_be_read_is_refused_with_the_next_step
28 privacy_leaks of_a_very_old_person_nothing_tells_more_than_ninety
29 privacy_leaks death_gives_the_age_at_death_and_a_relative_day
30 privacy_leaks ages_are_completed_years_and_top_coded
30 privacy_leaks observed_ages_are_top_coded
30 privacy_leaks a_range_of_ages_is_not_told
31 privacy_times every_form_of_a_fhir_date_is_read
31 privacy_times epochs_of_one_year_cannot_be_told_apart_by_year_dates
32 privacy_leaks all_types_of_one_patient_share_one_zero
33 privacy_leaks nothing_about_a_patient_says_where_the_zero_lies
33 privacy_times the_epoch_is_drawn_evenly_around_the_reference_day
34 privacy_geography three_digits_or_nothing
35 privacy_geography a_state_is_one_of_a_list_and_everything_else_is_left_out
37 privacy_whole twenty_thousand_resources_leave_no_marker_anywhere
38 privacy_leaks equal_ids_of_different_types_get_different_pseudonyms
39 privacy_vault names_are_keyed_and_cannot_collide
39 privacy_vault pseudonyms_are_random_and_stable_per_map
39 privacy_gate unkeyed_hashes_of_identifiers_are_found
40 privacy_vault keys_that_are_absent_short_known_or_not_random_are_refused
41 privacy_whole twenty_thousand_resources_leave_no_marker_anywhere
41 service_privacy a_failure_in_the_middle_leaves_nothing
42 privacy_leaks shapes_that_do_not_belong_never_raise
44 privacy_policy a_policy_that_is_not_complete_and_exact_is_refused
45 privacy_leaks security_labels_are_handed_on_and_others_dropped
48 privacy_rarity a_rare_code_becomes_its_parent
49 privacy_render a_value_has_no_more_digits_than_mean_anything
49 risk_report the_report_measures_what_is_held
51 writeback_ladder every_form_is_valid_fhir_with_one_identifier
51 mappings_to_fhir basis_is_exactly_the_inputs_used_each_once
52 fhir_http errors_hold_no_id_no_url_and_none_of_the_servers_words
52 privacy_whole twenty_thousand_resources_leave_no_marker_anywhere
53 privacy_vault rotation_wraps_again_and_starts_an_epoch
53 privacy_ledger old_entries_verify_after_the_key_was_rotated
54 privacy_cases an_entry_holds_no_hash_of_an_identifier
55 privacy_generated threads_share_a_deidentifier_but_no_epoch_and_no_pseudonym
"""


def digests(text: str) -> set[str]:
    return {hashlib.new(name, text.encode()).hexdigest() for name in ("md5", "sha1", "sha256")}


def test_an_entry_holds_no_hash_of_an_identifier() -> None:
    run = session({"id": "MRN-0048151623"})
    source = observation(id="MRN-7", subject={"reference": "Patient/MRN-0048151623"})
    assert isinstance(run.apply(source), dict)
    entry = twin_entry(
        policy=run.policy, software="0", twin="t", document=b"{}", counts=run.counts,
        refusals=run.refusals, gate={}, at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    told = canonical(entry).decode()
    for text in ("MRN-0048151623", "MRN-7", "Patient/MRN-0048151623", "Observation/MRN-7"):
        assert not [hidden for hidden in {text, *digests(text)} if hidden in told]


def fixtures(number: int) -> list[str]:
    return [name for name in (*CASES, *REFUSED) if name.startswith(f"{number:02} ")]


def proofs() -> list[tuple[int, str, str]]:
    rows = (line.split() for line in PROVED.strip().splitlines())
    return [(int(number), file, f"test_{name}") for number, file, name in rows]


@cache
def names_in(file: str) -> frozenset[str]:
    (path,) = TESTS.glob(f"*/test_{file}.py")
    found = ast.parse(path.read_text("utf-8")).body
    return frozenset(item.name for item in found if isinstance(item, ast.FunctionDef))


def test_all_are_here() -> None:
    assert list(LEAKS) == list(range(1, 57))
    assert {number for number, _, _ in proofs()} <= LEAKS.keys()


@pytest.mark.parametrize("number", LEAKS)
def test_each_has_a_fixture_or_a_test_of_its_own(number: int) -> None:
    mine = [(file, name) for of, file, name in proofs() if of == number]
    assert fixtures(number) or mine, LEAKS[number]
    assert [name for file, name in mine if name not in names_in(file)] == []
