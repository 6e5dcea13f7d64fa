"""`twinport watch` as an operator uses it, and as a machine that loses power leaves it."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Response, request
from support.shell import Shell
from watch_scene import CREATININE, PATIENT, newest_only

from service.pipeline.runtime import open_runtime
from service.sandbox import Persona
from service.sandbox.testing import RunningSandbox, population, running_sandbox
from service.stores.database import utc_now
from service.watch.watching import Watching

PATIENCE = 60


class PowerCut(Persona):
    """Holds back the answer to the first result that was written, until somebody was killed."""

    def __init__(self) -> None:
        self.cut = False
        self.reached, self.go = threading.Event(), threading.Event()

    def respond(self, response: Response) -> Response:
        if self.cut and request.method == "POST" and response.status_code < 300:
            self.cut = False
            self.reached.set()
            self.go.wait(PATIENCE)
        return response


@dataclass
class Ward:
    shell: Shell
    sandbox: RunningSandbox
    persona: PowerCut
    before: frozenset[str]

    def ours(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self.sandbox.resources(kind) if r["id"] not in self.before]

    def statuses(self) -> Counter[str]:
        return Counter(r["status"] for k in ("RiskAssessment", "Observation") for r in self.ours(k))

    def withdraw_creatinine(self) -> None:
        found = [
            r
            for r in self.sandbox.resources("Observation")
            if r["id"] in self.before and CREATININE in str(r["code"])
        ]
        newest = max(found, key=lambda r: str(r["effectiveDateTime"]))
        self.sandbox.store.put("Observation", newest["id"], newest | {"status": "entered-in-error"})

    def add(self) -> str:
        return self.shell("watch", "add", "--server", "ehr", "--patient", PATIENT).out.strip()

    def listed(self) -> list[dict[str, Any]]:
        return list(self.shell("watch", "list", "--json").jsons)


@pytest.fixture
def ward(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    patient = newest_only(next(p for p in population(utc_now().date()) if p.id == PATIENT))
    persona = PowerCut()
    with running_sandbox([patient], persona=persona) as sandbox:
        kinds = ("RiskAssessment", "Observation")
        for name, value in {
            "HOME": str(home),
            "SERVERS__EHR__BASE_URL": sandbox.base_url,
            "MODELS__DEFAULT": "prevent,ckd-epi-2021",
            "JOBS__LEASE_SECONDS": "5",
            "JOBS__POLL_SECONDS": "0.05",
        }.items():
            monkeypatch.setenv(f"TWINPORT_{name}", value)
        before = frozenset(r["id"] for kind in kinds for r in sandbox.resources(kind))
        yield Ward(Shell(home), sandbox, persona, before)
        persona.go.set()


def test_a_watch_from_its_beginning_to_its_end(ward: Ward) -> None:
    shell, name = ward.shell, ward.add()
    again = shell("watch", "add", "--server", "ehr", "--patient", PATIENT, "--json")
    assert again.json == {"watch": name, "new": False, "subscriptions": 0}
    assert shell("watch", "run", "--once").err.strip() == "looked at 1, 0 failed"
    (row,) = ward.listed()
    assert (row["outcome"], row["failures"], row["paused"]) == ("done", 0, False)
    assert shell("watch", "run", "--once").err.strip() == "looked at 0, 0 failed"  # not due again
    before = ward.statuses()
    assert set(before) == {"preliminary"}
    ward.withdraw_creatinine()
    assert shell("watch", "now", name, "--whole").code == 0
    assert shell("watch", "run", "--once").code == 0
    assert ward.statuses()["entered-in-error"] == before.total()
    assert shell("watch", "pause", name).code == 0
    assert shell("watch", "now", name).error.startswith("it is paused")
    shell("watch", "resume", name)
    assert shell("watch", "run", "--once").err.strip() == "looked at 1, 0 failed"
    told = shell("watch", "list").out
    assert name in told
    assert PATIENT not in told
    assert shell("watch", "remove", name).code == 0
    gone = shell("watch", "list")
    assert (gone.out, gone.err.strip()) == ("", "nobody is watched")
    assert shell("watch", "remove", name).code == 3


def test_a_server_that_is_away_is_said_and_counted(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.add()
    monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", "http://127.0.0.1:9/fhir")
    monkeypatch.setenv("TWINPORT_JOBS__ATTEMPTS", "1")
    failed = ward.shell("watch", "run", "--once")
    assert failed.code != 0
    assert failed.err.splitlines()[0] == "looked at 0, 1 failed"
    (row,) = ward.listed()
    assert (row["failures"], row["outcome"]) == (1, "upstream-unreachable")
    runtime = open_runtime()
    levels = Watching(runtime).levels()
    runtime.close()
    assert (levels["twinport_watches"], levels["twinport_watches_failing"]) == (1, 1)
    assert levels["twinport_watch_longest_overdue_seconds"] == 0


@pytest.mark.slow
def test_a_look_killed_in_the_middle_is_finished_and_nothing_is_there_twice(ward: Ward) -> None:
    name = ward.add()
    ward.persona.cut = True
    process = ward.shell.process("watch", "run", "--once")
    reached = ward.persona.reached.wait(PATIENCE)
    process.kill()
    process.communicate()
    ward.persona.go.set()
    assert reached
    assert process.returncode == -signal.SIGKILL
    ward.shell("watch", "now", name)
    assert ward.shell("watch", "run", "--once").code == 0
    (row,) = ward.listed()
    assert (row["outcome"], row["failures"]) == ("done", 0)
    written = Counter(
        r["identifier"][0]["value"] for k in ("RiskAssessment", "Observation") for r in ward.ours(k)
    )
    assert len(written) == 2
    assert set(written.values()) == {1}
