"""A policy judges every published element, and every rule of it judges something."""

import copy
import tomllib
from importlib.resources import files
from typing import Any

import pytest

from privacy.elements import IN_SCOPE, elements_of
from privacy.errors import PolicyError
from privacy.policy import load_policy, make_policy, policy_ids, read_policy, twin_policy_ids, walk

TYPES = """Patient Observation Condition ImagingStudy MedicationRequest MedicationStatement
    Medication Procedure Encounter DiagnosticReport AllergyIntolerance FamilyMemberHistory
    Device Endpoint Specimen Immunization"""  # the types the twin reads


def table() -> dict[str, Any]:
    return copy.deepcopy(read_policy("safe-harbor"))


def test_the_types_in_scope_are_those_the_twin_reads() -> None:
    assert set(TYPES.split()) == IN_SCOPE


@pytest.mark.parametrize("policy_id", policy_ids())
def test_every_reachable_leaf_of_every_shipped_policy_has_a_verdict(policy_id: str) -> None:
    policy = load_policy(policy_id)
    leaves = [leaf for kind in IN_SCOPE for leaf in walk(policy, kind, kind)]
    assert len(leaves) > 2000
    assert all(policy.verdict(leaf.parent, leaf.owner, leaf.key) for leaf in leaves)


@pytest.mark.parametrize("policy_id", policy_ids())
def test_no_free_string_can_be_kept(policy_id: str) -> None:
    policy = load_policy(policy_id)
    text = {"string", "markdown", "uri", "url", "canonical", "base64Binary", "Narrative"}
    for kind in IN_SCOPE:
        for leaf in walk(policy, kind, kind):
            verdict = policy.verdict(leaf.parent, leaf.owner, leaf.key)
            assert verdict is not None
            if leaf.element.type in text:
                assert verdict.action in {"drop", "refuse", "unit", "unit-system", "code-system"}


def test_modifier_elements_are_kept_or_named_here_with_the_reason_for_dropping_them() -> None:
    """Dropping a modifier changes what the rest means, so each such verdict is looked at."""
    policy = load_policy("safe-harbor")
    dropped = {
        leaf.path
        for kind in IN_SCOPE
        for leaf in walk(policy, kind, kind)
        if leaf.element.is_modifier
        and (verdict := policy.verdict(leaf.parent, leaf.owner, leaf.key))
        and verdict.action == "drop"
    }
    assert dropped == {
        "Patient.active",  # the state of the register, not of the person
        "Patient.link",  # another record of the same person; the caller merges records
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["elements"]["Observation"].pop("status"), "Observation.status has no verdict"),
        (lambda t: t["elements"]["Observation"].update(statuss="code"), "statuss matches nothing"),
        (lambda t: t["elements"].update({"Observatoin": {"id": "pseudonym"}}), "matches nothing"),
        (lambda t: t["elements"]["Patient"].update(name="keep"), "no meaning|HumanName|no verdict"),
        (lambda t: t["elements"]["Patient"].update(name="drop"), "give the reason"),
        (
            lambda t: t["elements"]["Observation"].update(valueString="code"),
            "does not judge string",
        ),
        (lambda t: t["elements"]["Observation"].update(note="keep"), "Annotation cannot be kept"),
        (lambda t: t["elements"]["Observation"].update(status="keepp"), "no such verdict"),
        (lambda t: t["elements"]["Observation"].update(subject="keep"), "cannot be kept"),
        (lambda t: t["elements"]["Condition"].update(onsetDateTime="birth"), "does not judge"),
        (
            lambda t: t["elements"]["FamilyMemberHistory"].update(bornDate="birth"),
            "no meaning here",
        ),
        (lambda t: t["elements"]["Resource"].update(language="code"), "no closed value set"),
        (lambda t: t["time"].update(unit="s"), "unit is d or min"),
        (lambda t: t["time"].update(offsets="yes"), "keys that mean nothing: offsets"),
        (lambda t: t.pop("age"), "lacks or misspells 'age'"),
    ],
)
def test_a_policy_that_is_not_complete_and_exact_is_refused(change: Any, message: str) -> None:
    changed = table()
    change(changed)
    with pytest.raises(PolicyError, match=message):
        make_policy(changed)


def test_a_path_may_be_judged_differently_from_its_datatype() -> None:
    changed = table()
    changed["elements"]["Observation.valueQuantity"] = {"comparator": "drop: only here"}
    policy = make_policy(changed)
    here = policy.verdict("Observation.valueQuantity", "Quantity", "comparator")
    elsewhere = policy.verdict("Observation.component.valueQuantity", "Quantity", "comparator")
    assert here is not None
    assert elsewhere is not None
    assert (here.action, elsewhere.action) == ("drop", "code")


def test_relative_minutes_differs_from_safe_harbor_in_what_it_names_alone() -> None:
    base, minutes = read_policy("safe-harbor"), read_policy("relative-minutes")
    assert minutes["elements"] == base["elements"]
    assert minutes["age"] == base["age"]
    assert minutes["time"] == {**base["time"], "unit": "min"}


def test_the_digest_is_of_the_content_not_of_the_spelling() -> None:
    text = (files("privacy") / "policies" / "safe-harbor.toml").read_text(encoding="utf-8")
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert make_policy(tomllib.loads(bare)).digest == load_policy("safe-harbor").digest
    changed = table()
    changed["elements"]["Patient"]["gender"] = "drop: for the test"
    assert make_policy(changed).digest != load_policy("safe-harbor").digest


# A changed verdict is a new version: the digest is signed into every ledger entry.
PUBLISHED = {
    ("safe-harbor", 1):
        "sha256:513ccfa43d4486ecb2ec26af1679a99b0262d9c0078e450b18a43170f9f65439",
    ("relative-minutes", 1):
        "sha256:eaff44ba2e462d11312028391882af621d2f9db73306565b574118b91bef74bc",
    ("date-shift", 1):
        "sha256:be9aa1a41e82b8c873d8b2b179580a9fd9fdc2e674d4f5282361e188ea417b99",
    ("limited-data-set", 1):
        "sha256:5c730e80d7c88a0b4593a3795090fd607a52cb1befe2fbc42ec41f6533c7d3e0",
    ("safe-harbor", 2):
        "sha256:e0f6d05b94efd886fc4348391c80eec27d055c749ce6a4d1d380e7f80aa15c8f",
    ("relative-minutes", 2):
        "sha256:e38263b0f32b437d218d04b78e086488400d251d142c5267b94afeb7a326ba1d",
    ("date-shift", 2):
        "sha256:5e280b12ea618709a8963eb081a00a6085d25f83323946ba24d6d2a18fb9dd86",
    ("limited-data-set", 2):
        "sha256:7433ded9d4eec2f9573e837a3846c220e7f07abaddf370b2d61bb2f9609d44c3",
    ("safe-harbor", 3):
        "sha256:a503ccbf2b593d1b8059e7db275c05db754b6bf953daa023e2b738031f6a04b8",
    ("relative-minutes", 3):
        "sha256:c74f2b7480ff5bdb2908fdd2d4c1da5c437176d787da5d552e390da0bd33fe82",
    ("date-shift", 3):
        "sha256:402e0db9a16f38e5e1c24244c2b8d3dbd242589a6eae730d221fbc63dc4feeff",
    ("limited-data-set", 3):
        "sha256:7d492bfb9ddb0d722719ed21e9a46ad793a19bf14b9738da417dce1d42601b62",
}  # fmt: skip


@pytest.mark.parametrize("policy_id", ["date-shift", "limited-data-set"])
def test_a_policy_that_keeps_dates_makes_no_twin_and_says_which_do(policy_id: str) -> None:
    with pytest.raises(PolicyError, match=r"twinport deidentify.*relative-minutes, safe-harbor"):
        load_policy(policy_id).require_twins()
    assert twin_policy_ids() == ("relative-minutes", "safe-harbor")
    load_policy("safe-harbor").require_twins()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"dates": "all", "digits": 4}, "dates is year, shifted or true"),
        ({"dates": "true", "digits": 4}, "twins have no calendar"),
        ({"dates": "true", "twins": False, "digits": 4, "x": 1}, "keys that mean nothing: x"),
        ({"digits": 7}, "digits is 1 to 6"),
        ({}, "misspells 'digits'"),
    ],
)
def test_rules_for_files_are_exact(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        make_policy({**table(), "files": rules})


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"rare": "hide"}, "rare is generalise or keep"),
        ({"rare": "keep", "x": 1}, "keys that mean nothing: x"),
        ({}, "misspells 'rare'"),
    ],
)
def test_rules_for_codes_are_exact(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        make_policy({**table(), "codes": rules})


def test_a_policy_that_changed_has_a_new_version() -> None:
    shipped = {
        (policy.id, policy.version): policy.digest for policy in map(load_policy, policy_ids())
    }
    assert shipped.items() <= PUBLISHED.items()


def test_an_unknown_policy_says_which_there_are() -> None:
    with pytest.raises(PolicyError, match="relative-minutes, safe-harbor"):
        load_policy("../safe-harbor")


def test_every_drop_says_why() -> None:
    for section in load_policy("safe-harbor").verdicts.values():
        for verdict in section.values():
            assert verdict.action not in {"drop", "refuse"} or len(verdict.detail) > 5


def test_inherited_keys_are_part_of_each_type() -> None:
    assert {"id", "meta", "contained", "modifierExtension", "status"} <= set(
        elements_of("Observation")
    )
    assert "modifierExtension" in elements_of("Observation.component")
    assert "modifierExtension" not in elements_of("Quantity")
