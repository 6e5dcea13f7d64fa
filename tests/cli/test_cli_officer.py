"""What the operator does for the officer's console from a shell."""

from pathlib import Path

import orjson
import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from support.shell import Shell


def test_the_tables_beside_the_ledger_are_made_anew(twinport: Shell) -> None:
    held = twinport("ledger", "verify", "--json").json["entries"]
    assert held >= 2
    assert twinport("ledger", "reindex").out == f"{held} entries sorted in\n"


def test_a_code_is_for_one_person(twinport: Shell) -> None:
    made = twinport("keys", "sign-in", "--role", "privacy-officer", "--person", "ada")
    assert (made.code, "valid once" in made.err) == (0, True)
    wrong = twinport("keys", "sign-in", "--role", "privacy-officer", "--person", "Ada L.")
    assert (wrong.code, "a code, not a name" in wrong.error) == (2, True)


@pytest.mark.parametrize("form", ["jsonl", "csv", "ndjson"])
def test_the_audit_is_exported(twinport: Shell, tmp_path: Path, form: str) -> None:
    assert twinport("audit", "export", tmp_path / f"one.{form}").code == 0
    lines = (tmp_path / f"one.{form}").read_bytes().splitlines()
    assert b"audit-export" in lines[-1]
    if form == "jsonl":
        assert orjson.loads(lines[-1])["subject"] == "command-line"
    if form == "ndjson":
        AuditEvent.model_validate(orjson.loads(lines[-1]))


def test_an_export_of_another_day_is_empty(twinport: Shell, tmp_path: Path) -> None:
    out = tmp_path / "audit.jsonl"
    said = twinport("audit", "export", out, "--from", "2001-01-01", "--to", "2001-01-02")
    assert (said.code, said.err, out.read_bytes()) == (0, "0 events\n", b"")


def test_a_form_that_is_none(twinport: Shell, tmp_path: Path) -> None:
    said = twinport("audit", "export", tmp_path / "audit.xml")
    assert (said.code, "give --format" in said.error) == (2, True)
