"""The benchmark runs from one command and says what the page about it says it measures."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from docs_pages import ROOT, read

from bench import harness
from bench.copies import copy_id
from bench.harness import Aim, Case, Figure, measure, passthrough, table
from bench.load import drive, runs_done
from bench.processes import copies, service


def _case(aim: Aim | None) -> Case:
    return Case(
        "parse", passthrough(b'{"a": 1}'), passthrough(b'{"a": 1}'), "floor", 1, "rows", aim
    )


@pytest.fixture(scope="module")
def figure() -> Figure:
    return measure(_case(None), rounds=3)


def test_a_figure_is_a_ratio_to_its_own_floor(figure: Figure) -> None:
    assert figure.ratio > 0
    assert figure.met is None


def test_a_change_of_the_machines_speed_is_in_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 3.0, 1.0, 6.0, 2.0, 6.0])  # floor and work; from the fourth on slower
    monkeypatch.setattr(harness, "_seconds", lambda *_: next(times))
    assert measure(_case(None), rounds=3).ratio == 3


@pytest.mark.parametrize(
    ("aim", "met"),
    [
        (Aim(ratio=1e9), True),
        (Aim(ratio=1e-9), False),
        (Aim(per_second=1e-9), True),
        (Aim(per_second=1e15), False),
    ],
)
def test_an_aim_is_met_or_missed(figure: Figure, aim: Aim, met: bool) -> None:
    judged = replace(figure, case=_case(aim))
    assert judged.met is met
    assert ("met" if met else "missed") in table([judged])


@pytest.mark.slow
def test_every_case_runs_and_is_explained() -> None:
    """As CI's bench, too: it lets the figures be seen (`-s`)."""
    command = ["make", "--silent", "bench", "ARGS=--quick --json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])  # make may have set up something first
    figures = found["figures"]
    page = read("docs/performance.md")
    sys.stdout.write(f"{found['machine']}\n")
    assert len(figures) >= 5
    for figure in figures:
        sys.stdout.write(f"{figure}\n")
        assert figure["milliseconds"] > 0
        name = figure["case"].partition(",")[0]
        assert f"| {name}" in page, f"docs/performance.md does not explain {name}"


@pytest.mark.slow
def test_at_overload_real_workers_turn_away_and_lose_nothing() -> None:
    """More callers than places, with gunicorn and two workers; each comes back when it is told."""
    tight = {
        "TWINPORT_JOBS__WAITING": "1",
        "TWINPORT_JOBS__WORKERS": "1",
        "TWINPORT_LOGGING__LEVEL": "error",
        "TWINPORT_WEB__THREADS": "4",
    }
    with copies(8) as base, service(base, 2, tight) as running:
        level = drive(running, map(copy_id, range(8)), callers=8)
        done = runs_done(running.metrics())
    assert (level.lost, len(level.seconds), done) == (0, 8, 8)
    assert level.statuses[200] == 8
    assert level.statuses[429] > 0
