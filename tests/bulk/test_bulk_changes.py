"""Night after night: what changed since the last export, and what was deleted."""

from pathlib import Path

import pytest
from bulk_scene import bulk, configure, exporting, heart_rate, report, twins
from support.shell import Shell

from service.stores import open_database
from service.stores.audit import AuditStore


def test_only_those_who_changed_are_made_again(shell: Shell, tmp_path: Path) -> None:
    with exporting(ids=("p1", "p2", "p3")) as sandbox:
        configure(shell.home, sandbox)
        assert report(shell)["patients"] == {"new": 3}
        sandbox.store.put("Observation", "later", heart_rate("later", "p2", 91))
        out = tmp_path / "out"
        found = report(shell, "run", "main", "--since", "last", "--out", out)
        assert (found["patients"], found["complete"]) == ({"new": 1}, True)
        assert found["missing"] == {}
        (twin,) = twins(out)
        assert 91 in twin["signals"]["heart-rate"]["v"]
        assert twin["twin"]["version"] == 2
        assert twin["completeness"]["basis"] == "server"
        assert report(shell, "run", "main", "--since", "last")["patients"] == {}


def test_what_was_deleted_is_withdrawn_from_the_next_version(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with exporting() as sandbox:
        configure(shell.home, sandbox)
        assert report(shell)["patients"] == {"new": 2}
        sandbox.store.delete("Observation", "p1-1")
        sandbox.store.load([heart_rate("never-seen", "p2", 60)])
        sandbox.store.delete("Observation", "never-seen")
        found = report(shell, "run", "main", "--since", "last", "--out", out)
    assert found["deleted"] == {"facts": 1, "of-no-twin": 1, "persons": 0}
    assert found["patients"] == {"new": 1}
    (twin,) = twins(out)
    assert [change["why"] for change in twin["changes"]["withdrawn"]] == ["deleted"]
    assert 61 not in twin["signals"]["heart-rate"]["v"]


@pytest.mark.slow
def test_a_deleted_person_is_for_the_officer_to_see(shell: Shell) -> None:
    """There is no record to make a version of; the twin stands until it is erased."""
    with exporting() as sandbox:
        configure(shell.home, sandbox)
        assert report(shell)["patients"] == {"new": 2}
        sandbox.store.delete("Patient", "p1")
        found = report(shell, "run", "main", "--since", "last")
    assert found["deleted"]["persons"] == 1
    database = open_database(f"sqlite:///{shell.home / 'twinport.db'}")
    events = [e for e in AuditStore(database).recent() if e.outcome == "source-deleted"]
    database.close()
    assert len(events) == 1
    assert events[0].object


@pytest.mark.slow
def test_a_partial_export_is_no_place_to_begin_from(shell: Shell) -> None:
    """What it lacked would never be asked for again."""
    with exporting() as sandbox:
        configure(shell.home, sandbox)
        assert "no complete export" in bulk(shell, "run", "main", "--since", "last").error
        assert "--since takes" in bulk(shell, "run", "main", "--since", "yesterday").error
        found = report(shell, "run", "main", "--since", "2020-01-01T00:00:00Z")
        assert found["patients"] == {"new": 2}
