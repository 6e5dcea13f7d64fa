"""`python -m bench.load [--quick] [--json]`: callers of `$assess` side by side, and our own part.

gunicorn with two worker processes, a sandbox in a process of its own, every run a patient nobody
has asked for yet (310 resources), results written back. A caller who is told to come back later
does so, as the answer says; every run that was accepted must be done in the end.
"""

import re
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson
import requests

from bench.__main__ import machine
from bench.copies import copy_id, original
from bench.hooks import Ehr
from bench.processes import SERVER, Running, copies, service

CALLERS = (1, 4, 16)
WORKERS = 2
AIM_MILLISECONDS = 60
ANSWER_SECONDS = 600


@dataclass
class Level:
    """What so many callers got. `lost`: accepted or refused in any way but done or 429."""

    callers: int
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wall: float = 0.0

    @property
    def lost(self) -> int:
        return sum(n for status, n in self.statuses.items() if status not in (200, 429))

    def as_dict(self) -> dict[str, Any]:
        return {
            "callers": self.callers,
            "runs": len(self.seconds),
            "perSecond": round(len(self.seconds) / self.wall, 2),
            "p50": round(_percentile(self.seconds, 50), 3),
            "p99": round(_percentile(self.seconds, 99), 3),
            "turnedAway": self.statuses[429],
            "lost": self.lost,
        }


@dataclass
class Own:
    """Of single calls: how long, how long of it a request to the server was under way, the rest."""

    whole: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    processor: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    """Mean seconds of each stage, requests to the server included"""

    def as_dict(self) -> dict[str, Any]:
        rest = [whole - server for whole, server in zip(self.whole, self.server, strict=True)]
        own = statistics.median(rest) * 1000
        return {
            "runs": len(rest),
            "wholeMs": round(statistics.median(self.whole) * 1000, 1),
            "serverMs": round(statistics.median(self.server) * 1000, 1),
            "ownMs": round(own, 1),
            "processorMs": round(self.processor / len(rest) * 1000, 1),
            "stagesMs": {name: round(mean * 1000, 1) for name, mean in self.stages.items()},
            "aim": f"<= {AIM_MILLISECONDS} ms",
            "met": own <= AIM_MILLISECONDS,
        }


def drive(running: Running, patients: Iterable[str], callers: int) -> Level:
    """So many callers work through the patients, each with one call at a time."""
    level, rest, lock = Level(callers), iter(patients), threading.Lock()
    begun = time.perf_counter()
    threads = [threading.Thread(target=_call_all, args=(running, rest, level, lock))
               for _ in range(callers)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    level.wall = time.perf_counter() - begun
    return level


def _call_all(running: Running, rest: Iterator[str], level: Level, lock: threading.Lock) -> None:
    with requests.Session() as session:
        while True:
            with lock:
                patient = next(rest, None)
            if patient is None:
                return
            _until_answered(session, running, patient, level, lock)


def _until_answered(
    session: requests.Session, running: Running, patient: str, level: Level, lock: threading.Lock
) -> None:
    while True:
        begun = time.perf_counter()
        try:
            answer = assess(session, running, patient)
        except requests.RequestException:
            with lock:
                level.statuses[0] += 1  # no answer at all: lost
            return
        with lock:
            level.statuses[answer.status_code] += 1
            if answer.status_code != 429:
                level.seconds.append(time.perf_counter() - begun)
                return
        time.sleep(int(answer.headers["Retry-After"]))


def assess(session: requests.Session, running: Running, patient: str) -> requests.Response:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "server", "valueString": SERVER}],
    }
    url = f"{running.url}/fhir/Patient/{patient}/$assess"
    return session.post(url, json=body, headers=dict(running.ehr), timeout=ANSWER_SECONDS)


def own_part(running: Running, patients: Iterable[str]) -> Own:
    """One call at a time; between calls the service is asked how long it waited for the server."""
    own, first = Own(), running.metrics()
    before = server_seconds(first)
    with requests.Session() as session:
        for patient in patients:
            begun, computed = time.perf_counter(), running.processor_seconds()
            assess(session, running, patient).raise_for_status()
            own.whole.append(time.perf_counter() - begun)
            own.processor += running.processor_seconds() - computed
            after = server_seconds(last := running.metrics())
            own.server.append(after - before)
            before = after
    own.stages = {name: (total - stages(first).get(name, 0.0)) / len(own.whole)
                  for name, total in stages(last).items()}  # fmt: skip
    return own


def stages(metrics: str) -> dict[str, float]:
    """By stage, the seconds of all runs so far."""
    found = re.findall(
        r'^twinport_run_stage_seconds_sum\{stage="([^"]+)"\} (\S+)$', metrics, re.MULTILINE
    )
    return {name: float(total) for name, total in found}


def server_seconds(metrics: str) -> float:
    return _sample(metrics, "twinport_run_server_seconds_sum")


def runs_done(metrics: str) -> float:
    return _sample(metrics, 'twinport_runs_total{outcome="done"}')


def _sample(metrics: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@click.command()
@click.option("--quick", is_flag=True, help="Fewer runs; the figures are rougher.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(quick: bool, as_json: bool) -> None:
    """Measure `$assess` under load. Nothing here fails by being slow; it fails by losing a run."""
    each, single = (12, 7) if quick else (100, 31)
    number = len(CALLERS) * each + single + WORKERS
    cards = 5 if quick else 31
    names = map(copy_id, range(number + cards))
    settings = {"TWINPORT_WEB__REQUESTS_PER_MINUTE": "100000", "TWINPORT_LOGGING__LEVEL": "error"}
    with (
        tempfile.TemporaryDirectory(prefix="twinport-bench-") as folder,
        copies(number + cards) as base,
        service(base, WORKERS, settings | (ehr := Ehr(Path(folder))).settings(SERVER)) as running,
    ):
        drive(running, islice(names, WORKERS), WORKERS)  # warm: policies, tables, connections
        own = own_part(running, islice(names, single))
        levels = [drive(running, list(islice(names, each)), callers) for callers in CALLERS]
        done = runs_done(running.metrics())
        hooks = ehr.timed(running, base, islice(names, cards))
    if done != number or any(level.lost for level in levels):
        raise click.ClickException(f"{number} runs were accepted and {done:.0f} are done")
    figures = {
        "machine": machine(),
        "resources": len(original().resources),
        "own": own.as_dict(),
        "cdsHooks": hooks,
        "levels": [level.as_dict() for level in levels],
    }
    click.echo(orjson.dumps(figures) if as_json else _table(figures))


def _table(figures: dict[str, Any]) -> str:
    own = figures["own"]
    lines = [
        f"{figures['machine']}; {WORKERS} workers, {figures['resources']} resources a patient",
        f"one call: {own['wholeMs']} ms, of which {own['serverMs']} ms wait for the server and "
        f"{own['ownMs']} ms are ours (aim {own['aim']}: {'met' if own['met'] else 'missed'}); "
        f"{own['processorMs']} ms of processor time",
        "its stages, the server's part included: "
        + ", ".join(f"{name} {mean} ms" for name, mean in own["stagesMs"].items()),
        f"CDS Hooks patient-view, prefetched: {figures['cdsHooks']['medianMs']} ms "
        f"(aim {figures['cdsHooks']['aim']})",
        "",
        "callers  runs/s     p50     p99  turned away  lost",
    ]
    lines += [
        f"{one['callers']:7}  {one['perSecond']:6}  {one['p50']:5} s {one['p99']:5} s"
        f"  {one['turnedAway']:11}  {one['lost']:4}"
        for one in figures["levels"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
