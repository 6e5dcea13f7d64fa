"""Something to be told apart in every place of every type; nothing of it comes out."""

import pytest
from privacy_mutants import every, killed_by, report, trouble
from privacy_secrets import KINDS, MARK, OPEN, POLICY, SECRETS, Planter, leaks, suite

from privacy.deidentify import Deidentifier
from privacy.explain import leaves
from privacy.policy import load_policy

REFUSING = {"modifierExtension", "implicitRules"}


def test_every_place_of_every_type_holds_something() -> None:
    """But for what refuses the whole resource: that is planted by itself."""
    places: set[str] = set()
    for kind in KINDS:
        planter = Planter()
        planter.complete(kind)
        places |= planter.places
    judged = {leaf.path for leaf, _ in leaves(POLICY)}
    assert {place for place in judged - places if place.rpartition(".")[2] not in REFUSING} == set()


def test_many_are_planted_and_none_is_planted_twice() -> None:
    total = 0
    for one in suite():
        total += len(one.texts) + len(one.numbers) + len(one.offsets)
        source = repr(one.source)
        assert all(source.count(text) <= 1 for text in one.texts if text.startswith(MARK))
    assert total > 15_000


@pytest.mark.parametrize("policy", ["safe-harbor", "relative-minutes", "date-shift"])
@pytest.mark.parametrize("plans", [True, False])
def test_nothing_that_was_planted_comes_out(policy: str, plans: bool) -> None:
    deidentifier = Deidentifier(load_policy(policy), SECRETS, plans=plans)
    assert [leak for one in suite() for leak in leaks(one, deidentifier)] == []


@pytest.mark.parametrize("policy", ["safe-harbor", "date-shift", "limited-data-set"])
def test_places_digits_acquisition_and_the_ledger(policy: str) -> None:
    kinds = ("Patient", "Observation", "ImagingStudy") if policy == "safe-harbor" else ("Patient",)
    found = list(trouble(load_policy(policy), kinds))
    assert policy == "limited-data-set" or found == []


def test_a_mutant_of_a_rule_is_noticed() -> None:
    """A taste: all those that concern endpoints alone. `tools/mutate-policies` tries every one."""
    table, found = every()
    mine = [mutant for mutant in found if mutant.kinds == ("Endpoint",)]
    tried = [(mutant, killed_by(mutant, table)) for mutant in mine]
    assert len(tried) > 100
    assert {killer for _, killer in tried} == {"loader", "suite"}
    assert not [line for line in report(tried) if line.startswith("survived")]


def test_a_survivor_is_reported() -> None:
    _, found = every()
    *_, last = report([(found[0], "")])
    assert last == f"survived: removed {found[0].name}"


def test_every_rule_of_the_policies_has_a_mutant() -> None:
    table, found = every()
    removed = {mutant.name for mutant in found if mutant.what == "removed"}
    for section, keys in table["elements"].items():
        assert {f"[{section}] {key}" for key in keys} <= removed
    turned = {mutant.rule for mutant in found if mutant.verdict == "keep"}
    for leaf, verdict in leaves(POLICY):
        if verdict.action in OPEN:
            assert any(key == leaf.key for _, key in turned), leaf.path
