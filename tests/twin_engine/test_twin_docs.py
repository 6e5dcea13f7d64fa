"""The page about the document is made from the schema, and says something about every field."""

import subprocess
import sys
from pathlib import Path

import pytest

from twin_engine.document import dump, read, schema
from twin_engine.document.docs import example, fields, page
from twin_engine.document.schema import published

PAGE = Path(__file__).parents[2] / "docs" / "twin-document.md"


def test_the_page_is_current() -> None:
    """Made by: python -m twin_engine.document docs > docs/twin-document.md"""
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("part", schema()["properties"])
def test_every_field_is_explained_and_every_part_has_an_example(part: str) -> None:
    explained = list(fields(part, schema()["properties"][part]))
    assert all(note for _, _, note in explained)
    assert explained
    assert example()[part]


def test_the_example_is_a_document_that_can_be_read() -> None:
    assert read(dump(example())).version == 2


@pytest.mark.parametrize(("what", "expected"), [("schema", published()), ("docs", page().encode())])
def test_the_command_prints_the_generated_files(what: str, expected: bytes) -> None:
    command = [sys.executable, "-m", "twin_engine.document", what]
    assert subprocess.run(command, capture_output=True, check=True).stdout == expected


def test_the_command_says_how_it_is_used() -> None:
    command = [sys.executable, "-m", "twin_engine.document", "poem"]
    run = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert "usage" in run.stderr
