"""Every vendor that is simulated has its page, and the page says what will be missing."""

from pathlib import Path

import pytest

from service.fhir.kinds import KINDS
from service.sandbox.personas import PERSONAS

DOCS = Path(__file__).parents[2] / "docs"
HEADINGS = ("## Register", "## Scopes", "## What will be missing", "## Check")


@pytest.mark.parametrize("name", PERSONAS)
def test_the_page_names_what_this_vendor_does_not_offer(name: str) -> None:
    page = (DOCS / "vendors" / f"{name}.md").read_text(encoding="utf-8")
    assert all(heading in page for heading in HEADINGS)
    assert f"twinport server add {name} " in page
    assert f"twinport server check {name} " in page
    offers = PERSONAS[name].offers
    if offers is not None:
        part = page.split("## What will be missing")[1]
        assert all(f"`{kind}`" in part for kind in KINDS if kind not in offers)
        assert ("RiskAssessment" in offers) is ("write-back.md#the-ladder" not in part)


@pytest.mark.parametrize("name", PERSONAS)
def test_the_page_is_listed(name: str) -> None:
    assert f"({name}.md)" in (DOCS / "vendors" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PERSONAS)
def test_every_persona_names_its_sources(name: str) -> None:
    file = Path(PERSONAS[name].__module__.replace(".", "/") + ".py")
    text = (DOCS.parent / file).read_text(encoding="utf-8")
    assert "Source" in text.split('"""')[1]
    assert text.count("# [") + text.count('"""[') >= 4
