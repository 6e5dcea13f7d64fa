"""Whole resources of every type: what became of them last time, to the last field."""

import json

import mappings_page
import pytest
from mappings_golden import FOLDER, TYPES, golden


@pytest.mark.parametrize("kind", TYPES)
def test_a_whole_resource_gives_the_facts_it_gave(kind: str) -> None:
    """A type without a golden file fails here."""
    kept = json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))
    assert json.loads(json.dumps(golden(kept["resources"]))) == kept


def test_the_page_of_rules_is_current() -> None:
    assert mappings_page.PAGE.read_text("utf-8") == mappings_page.render()
