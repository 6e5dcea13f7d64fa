"""The page about the sandbox is made from the population and may not go stale."""

from pathlib import Path

from service.sandbox import docs

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    written = (ROOT / docs.PAGE).read_text(encoding="utf-8")
    assert written == docs.render(), "run: python -m service.sandbox.docs"


def test_the_folder_says_in_four_lines_what_may_not_happen_in_it() -> None:
    text = (ROOT / "service/sandbox/README.md").read_text(encoding="utf-8")
    assert 2 <= len([line for line in text.splitlines() if line.strip()]) <= 5
    assert "not" in text
