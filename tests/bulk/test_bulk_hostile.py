"""Servers whose exports go wrong: the run ends, says so, and takes nothing missing for none."""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import pytest
from bulk_scene import bulk, configure, exporting, report, slices, twins
from support.shell import Shell

from service.bulk.desk import Desk
from service.bulk.errors import NotReady
from service.bulk.job import Export, Watch, open_plan
from service.cli.exits import Exit
from service.pipeline.runtime import open_runtime
from service.sandbox.personas.hostile_export import BAD_LINES, HostileExport, ways

JANE = "Jane Roe"


def run(shell: Shell, way: str, *arguments: object, code: int, **settings: Any) -> Any:
    with exporting(HostileExport(way), settings.pop("ids", ("p1", "p2"))) as sandbox:
        configure(shell.home, sandbox, **settings)
        return report(shell, "run", "main", *arguments, code=code)


# -- it ends well ----------------------------------------------------------------------------------

HARMLESS = ("storm", "asks-for-hours", "separate-state", "packed-unsaid", "breaks-once")


def some(ways: Sequence[Any], chosen: Container[str]) -> list[Any]:
    """All of them; but for the chosen ones in the slow suite."""
    named = [(way if isinstance(way, tuple) else (way,)) for way in ways]
    return [pytest.param(*way, marks=() if way[0] in chosen else pytest.mark.slow) for way in named]


@pytest.mark.parametrize("way", some(HARMLESS, {"storm"}))
def test_what_passes_is_waited_for(shell: Shell, way: str) -> None:
    found = run(shell, way, code=0)
    assert (found["complete"], found["patients"]) == (True, {"new": 2})


# -- part of it is missing -------------------------------------------------------------------------

LOST = {
    "truncated": "count-short",
    "gone": "gone",
    "wrong-kind": "not-fhir",
    "gzip-bomb": "not-fhir",
    "torn": "not-fhir",
    "circle": "bad-answer",
    "drips": "timed-out",
}


@pytest.mark.parametrize(("way", "reason"), some(list(LOST.items()), {"wrong-kind"}))
def test_a_file_that_does_not_come_costs_its_type_alone(
    shell: Shell, tmp_path: Path, way: str, reason: str
) -> None:
    out = tmp_path / "out"
    patience = 1 if way == "drips" else 60
    found = run(shell, way, "--out", out, code=Exit.PARTIAL, file_seconds=patience)
    assert found["failures"] == {reason: 1}
    assert found["missing"]["Observation"] == reason
    assert "Condition" not in found["missing"]
    for twin in twins(out):
        part = slices(twin)["Observation"]
        assert (part["verdict"], part["reason"]) in {("partial", reason), ("unknown", reason)}
        assert slices(twin)["Condition"]["verdict"] == "complete"


def test_bad_lines_are_counted_and_placed_and_never_quoted(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(shell, "bad-lines", "--out", out, code=Exit.PARTIAL)
    assert found["badLines"] == 2 * len(BAD_LINES)
    assert found["lines"]["Observation"] == 6
    places = (out / "quarantine.jsonl").read_bytes().splitlines()
    assert len(places) == 2 * len(BAD_LINES)
    text = b"".join(places)
    assert b"oops" not in text
    assert b"not-json" in text
    for twin in twins(out):
        assert slices(twin)["Observation"]["reason"] == "bad-line"
        assert slices(twin)["Condition"]["verdict"] == "complete"


def test_a_promise_of_more_than_came_is_not_taken_for_the_whole(shell: Shell) -> None:
    """Fewer than promised: perhaps cut off. More: the promise was wrong, and nothing is lost."""
    found = run(shell, "lying-counts", code=Exit.PARTIAL)
    assert found["failures"] == {"count-short": 1}
    assert found["missing"]["Condition"] == "count-short"
    assert "Procedure" not in found["missing"]


@pytest.mark.slow
def test_lines_about_somebody_unknown_are_nobodys(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(shell, "stranger", "--out", out, code=0)
    assert (found["strangers"], found["patients"]) == (1, {"new": 2})
    counts = sorted(slices(twin)["Observation"]["matches"] for twin in twins(out))
    assert counts == [0, 3]


@pytest.mark.parametrize("way", some(["foreign-hosts", "odd-addresses"], {"foreign-hosts"}))
def test_files_at_odd_places_are_not_asked_for(shell: Shell, way: str) -> None:
    found = run(shell, way, code=Exit.PARTIAL)
    assert set(found["failures"]) <= {"foreign-origin", "unsafe-address"}
    hosts = found["hostsRefused"]
    assert hosts == (["https://files.example:443"] if way == "foreign-hosts" else [])


@pytest.mark.slow
def test_a_manifest_in_odd_shapes_is_read_as_far_as_it_goes(shell: Shell) -> None:
    """What names no file was promised and cannot be had: no type is complete then."""
    found = run(shell, "odd-manifest", code=Exit.PARTIAL)
    assert found["patients"] == {"new": 2}
    assert set(found["missing"].values()) == {"not-fhir"}
    assert bulk(shell, "status", "--json").json["transactionTime"] is None
    refused = bulk(shell, "run", "main", "--since", "last")
    assert "no complete export" in refused.error


# -- it ends badly, and says so --------------------------------------------------------------------

ENDS = {
    "gives-up": "gave up the export",
    "forgets": "no longer knows this export",
    "page-instead": "no Bulk Data manifest",
    "endless-manifests": "without end",
}


@pytest.mark.parametrize(("way", "words"), some(list(ENDS.items()), {"gives-up"}))
def test_an_export_that_comes_to_nothing(
    shell: Shell, way: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.bulk.polling.MOST_MANIFESTS", 5)
    with exporting(HostileExport(way), ("p1",)) as sandbox:
        configure(shell.home, sandbox)
        ran = bulk(shell, "run", "main")
    assert ran.code == Exit.SERVER
    assert words in ran.err
    assert JANE not in ran.err + ran.out
    shown = bulk(shell, "status", "--json").json
    assert (shown["state"], shown["finished"] is None) == ("failed", False)
    assert not list((shell.home / "spool").iterdir())


def test_an_export_of_too_many_files(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINPORT_BULK__FILES", "3")
    with exporting(ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        assert "bulk.files" in bulk(shell, "run", "main").err
        assert not sandbox.inside.exports.jobs


def test_an_export_that_is_never_ready(shell: Shell) -> None:
    """Patience ends, the export does not: it can be gone on with, or given up."""

    class Seen(Watch):
        percents: set[int | None] = set()  # noqa: RUF012

        def preparing(self, percent: int | None) -> None:
            self.percents.add(percent)

    with exporting(HostileExport("endless"), ("p1",)) as sandbox:
        configure(shell.home, sandbox)
        assert bulk(shell, "start", "main").code == 0
        runtime = open_runtime()
        (job,) = Desk(runtime).store.unfinished()
        export = Export(runtime, runtime.server("main"), job, open_plan(runtime, job), Seen())
        export.patience = 0.5
        with pytest.raises(NotReady, match="bulk resume"):
            export.carry_on()
        runtime.close()
        assert Seen.percents == {0, 99}
        assert bulk(shell, "status", "--json").json["state"] == "waiting"
        assert bulk(shell, "cancel", "main").code == 0


def test_every_way_is_tried_here() -> None:
    text = Path(__file__).read_text("utf-8")
    assert not [way for way in ways() if f'"{way}"' not in text]
