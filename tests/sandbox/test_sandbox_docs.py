"""The page about the sandbox is made from the population and may not go stale."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
import requests

from service.sandbox import background, docs, generate

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    written = (ROOT / docs.PAGE).read_text(encoding="utf-8")
    assert written == docs.render(), "run: python -m service.sandbox.docs"


@pytest.mark.slow
def test_the_page_is_the_same_on_any_day() -> None:
    one, other = (
        [Counter(r["resourceType"] for r in p.resources) for p in generate(day)]
        for day in (date(2025, 3, 1), date(2031, 12, 31))
    )
    assert one == other


def test_in_the_background_it_serves_the_population_of_today() -> None:
    with background() as base:
        found = requests.get(
            f"{base}/Observation?patient=demo-001&_sort=-date&_count=1", timeout=30
        )
    newest = date.fromisoformat(found.json()["entry"][0]["resource"]["effectiveDateTime"][:10])
    assert date.today() - timedelta(days=40) < newest < date.today()


@pytest.mark.parametrize("folder", ["service/sandbox", "service/sandbox/population"])
def test_each_folder_says_in_four_lines_what_may_not_happen_in_it(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert 2 <= len([line for line in text.splitlines() if line.strip()]) <= 5
    assert "not" in text
