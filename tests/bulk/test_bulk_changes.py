"""Night after night: what changed since the last export, and what was deleted."""

from pathlib import Path

import pytest
from bulk_scene import Exporting, bulk, configure, exporting, heart_rate, report, twins
from flask import request
from support.shell import Shell

from service.sandbox.errors import FhirError
from service.sandbox.persona import Pairs
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


class Modest(Exporting):
    """Refuses large pages."""

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        if any(name == "_count" and int(value) > 100 for name, value in pairs):
            raise FhirError(400, "value", "_count is limited to 100")
        return pairs


def test_a_server_is_asked_as_an_earlier_export_found_it_wants_to_be(shell: Shell) -> None:
    with exporting(Modest(), ids=("p1", "p2")) as sandbox:
        configure(shell.home, sandbox)
        assert report(shell)["patients"] == {"new": 2}
        refused = []
        for value, who in ((91, "p1"), (92, "p2"), (93, "p1")):
            sandbox.store.put("Observation", f"l-{value}", heart_rate(f"l-{value}", who, value))
            before = len(sandbox.requests)
            found = report(shell, "run", "main", "--since", "last")
            assert found["patients"] == {"new": 1}
            refused.append(sum(r.status == 400 for r in sandbox.requests[before:]))
    assert refused[0] > 0
    assert refused[1:] == [0, 0]


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


class Closed(Exporting):
    """Does not let one patient's record be read, for a while."""

    closed = ""

    def allow(self, kind: str, letter: str) -> None:
        patient = request.args.get("patient", request.path).rpartition("/")[2]
        if letter == "r" and patient == self.closed:
            raise FhirError(403, "forbidden", "not now")


def test_who_could_not_be_reached_is_tried_again_the_next_night(shell: Shell) -> None:
    server = Closed()
    with exporting(server, ids=("p1", "p2")) as sandbox:
        configure(shell.home, sandbox)
        assert report(shell)["complete"] is True
        for patient in ("p1", "p2"):
            rate = heart_rate(f"later-{patient}", patient, 91)
            sandbox.store.put("Observation", f"later-{patient}", rate)
        server.closed = "p2"
        found = report(shell, "run", "main", "--since", "last", code=4)
        assert found["patients"] == {"new": 1, "unreached:forbidden": 1}
        assert found["complete"] is False
        server.closed = ""
        found = report(shell, "run", "main", "--since", "last")
        assert found["patients"] == {"new": 1, "unchanged": 1}


class Down(Exporting):
    """Loses its sign-in for everything but exports, from some moment on."""

    down = False

    def allow(self, kind: str, letter: str) -> None:
        if self.down:
            raise FhirError(401, "login", "who are you?")


@pytest.mark.slow
def test_a_server_that_goes_away_fails_nobody(shell: Shell) -> None:
    """The work stops, and goes on where it was when the server is back."""
    server, ids = Down(), ("p1", "p2", "p3", "p4")
    with exporting(server, ids=ids) as sandbox:
        configure(shell.home, sandbox)
        assert report(shell)["complete"] is True
        for patient in ids:
            sandbox.store.put("Observation", f"x-{patient}", heart_rate("x", patient, 91))
        server.down = True
        assert bulk(shell, "run", "main", "--since", "last").code == 4
        assert bulk(shell, "status", "--json").jsons[0]["state"] == "making"
        server.down = False
        assert report(shell, "resume")["patients"] == {"new": 4}
