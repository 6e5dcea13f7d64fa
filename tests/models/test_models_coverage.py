"""The published table of answers and refusals is what the models say today."""

from pathlib import Path

import pytest
from models_coverage import page

PAGE = Path(__file__).parents[2] / "docs" / "models" / "coverage.md"


@pytest.mark.slow
def test_the_table_is_current() -> None:
    told = "run: python tests/models/models_coverage.py > docs/models/coverage.md"
    assert PAGE.read_text(encoding="utf-8") == page(), told
