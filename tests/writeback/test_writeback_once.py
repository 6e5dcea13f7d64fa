"""Exactly one of each, whatever dies and whatever breaks in between."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from writeback_faults import FAULTS, WAYS
from writeback_storm import FORGES, STEPS, Report, Scene, Schedule, play
from writeback_worker import FAILED

SEED = os.environ.get("TWINPORT_TEST_STORM_SEED", "2026")


def storm(scene: Scene, place: Path, number: int) -> list[Report]:
    """So many schedules, a few at a time."""
    with ThreadPoolExecutor(FORGES) as pool:
        seeds = [f"{SEED}-{n}" for n in range(number)]
        return list(pool.map(lambda seed: play(scene, place, seed), seeds))


def wrong(reports: list[Report]) -> dict[str, list[str]]:
    return {f"{r.seed} ({r.way})": r.problems for r in reports if r.problems}


def test_random_schedules_leave_exactly_one_of_each(scene: Scene, place: Path) -> None:
    """A taste of the thousand below."""
    assert wrong(storm(scene, place, 12)) == {}


@pytest.mark.slow
def test_a_thousand_random_schedules(scene: Scene, place: Path) -> None:
    reports = storm(scene, place, 1000)
    assert wrong(reports) == {}
    killed = Counter(report.together for report in reports if -signal.SIGKILL in report.ends)
    assert killed.total() > 200
    assert min(killed[True], killed[False]) > 80
    # The dice really meet what they are meant to meet.
    assert {report.way for report in reports} == set(WAYS)
    assert set(FAULTS) <= {fault for report in reports for fault in report.met}
    ends = Counter(end for report in reports for end in report.ends)
    assert not ends.keys() - {0, FAILED, -signal.SIGKILL, -signal.SIGALRM}


def one_by_default() -> list[object]:
    """One way in the default suite; the others, which share its steps, in the slow one."""
    first, *others = sorted(WAYS)
    return [first, *(pytest.param(way, marks=pytest.mark.slow) for way in others)]


@pytest.mark.parametrize("way", one_by_default())
def test_killed_before_and_after_every_step_of_the_outbox(
    scene: Scene, place: Path, way: str
) -> None:
    """Without any chance: each step, each side, by a real SIGKILL."""
    cases = [(step, side) for step in STEPS for side in ("before", "after")]

    def one(case: tuple[str, str]) -> Report:
        step, side = case
        death = {"death": {"step": step, "nth": 1, "side": side}}
        # Only what an earlier try left is noted anew before anything is sent.
        schedule = Schedule(way, {}, [0], [[death]], "storm", left=step == "mark-sending")
        return play(scene, place, f"{way}-{step}-{side}", schedule)

    with ThreadPoolExecutor(FORGES) as pool:
        reports = list(pool.map(one, cases))
    assert wrong(reports) == {}
    killed = {r.seed: r.ends for r in reports if r.ends != [-signal.SIGKILL]}
    assert killed == {}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["conditional-create", "transaction"])
def test_killed_while_writing_side_by_side(scene: Scene, place: Path, way: str) -> None:
    """Two results in hand at once: at the taking of both, and at each step of either."""
    steps = [("take", 1), *((step, nth) for step in ("write", "mark-end") for nth in (1, 2))]
    cases = [(step, nth, side) for step, nth in steps for side in ("before", "after")]

    def one(case: tuple[str, int, str]) -> Report:
        step, nth, side = case
        death = {"death": {"step": step, "nth": nth, "side": side}}
        schedule = Schedule(way, {}, [0, 1], [[death]], "storm", together=True)
        return play(scene, place, f"{way}-together-{step}-{nth}-{side}", schedule)

    with ThreadPoolExecutor(FORGES) as pool:
        reports = list(pool.map(one, cases))
    assert wrong(reports) == {}
    assert {r.seed: r.ends for r in reports if r.ends != [-signal.SIGKILL]} == {}
