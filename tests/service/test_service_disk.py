"""What a loss of power would leave behind, at each moment at which something leaves the process.

The database and its log are copied as far as they had been synchronised by then, and read.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import pytest
from flask import request
from service_people import person

from service.auth import Principal, Role
from service.auth.principals import Kind
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service
from service.sandbox.testing import RunningSandbox, running_sandbox
from service.stores import Database, open_database
from service.stores.audit import AuditStore
from service.stores.database import Disk
from service.stores.ledger import SqlLedgerStore
from service.stores.outbox import SqlOutboxStore
from service.stores.runs import RunState, RunStore
from service.stores.twins import TwinStore
from service.web.ports import Assessed, RunRequest

CALLER = Principal(Role.EHR, frozenset(), "test", Kind.API_KEY)
FULL = 2  # as `PRAGMA synchronous` says it


@dataclass
class Power:
    """Knows how much of an installation's log has been synchronised."""

    log: Path
    synced: int = 0
    late: int = 0
    """Transactions that were committed and not waited for."""

    def watch(self, database: Database) -> None:
        for disk in Disk:
            dialect = database._writing[disk].dialect
            dialect.do_commit = partial(self._commit, dialect.do_commit)  # type: ignore[method-assign]

    def _commit(self, commit: Callable[[object], None], connection: object) -> None:
        (level,) = connection.execute("PRAGMA synchronous").fetchone()  # type: ignore[attr-defined]
        commit(connection)
        if level != FULL:
            self.late += 1
        elif self.log.stat().st_size > self.synced:
            self.synced = self.log.stat().st_size

    def lost(self, place: Path) -> "Left":
        """What is left, once the power has failed now."""
        copy = place / f"{self.synced}.db"
        shutil.copyfile(self.log.with_name(self.log.name.removesuffix("-wal")), copy)
        copy.with_name(f"{copy.name}-wal").write_bytes(self.log.read_bytes()[: self.synced])
        database = open_database(f"sqlite:///{copy}")
        run = next(iter(RunStore(database).recent()), None)
        left = Left(
            run and run.state,
            len(TwinStore(database).newest()),
            SqlLedgerStore(database).head().seq,
            SqlOutboxStore(database).waiting(),
            [event.action for event in AuditStore(database).recent()],
        )
        database.close()
        return left


@dataclass(frozen=True)
class Left:
    run: RunState | None
    twins: int
    ledger: int
    unfinished: int
    audit: list[str]


@dataclass
class Scene:
    service: Service
    sandbox: RunningSandbox
    power: Power
    place: Path
    at: dict[str, Left] = field(default_factory=dict)
    """What would be left, by what had just been asked for the first time"""
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answered: Assessed | None = None

    def run(self, patient: str, *models: str) -> Left:
        """What would be left when the caller has the answer."""
        self.at.clear()
        self.asked.clear()
        self.answered = self.service.assess(RunRequest("ehr", patient, models), CALLER)
        with self.lock:
            return self.power.lost(self.place)

    def note(self) -> None:
        asked = "write" if request.method != "GET" else request.path.split("/")[2]
        with self.lock:  # the server is asked side by side
            self.asked.append(asked)
            if asked not in self.at:
                self.at[asked] = self.power.lost(self.place)


@pytest.fixture
def scene(made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """On the embedded database, whatever the suite runs on: its log can be cut."""
    home = tmp_path / "home"
    shutil.copytree(made_home, home)
    monkeypatch.setenv("TWINPORT_HOME", str(home))
    monkeypatch.delenv("TWINPORT_DATABASE__URL", raising=False)
    with running_sandbox([person("demo-008")]) as sandbox:
        monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", sandbox.base_url)
        service = Service(open_runtime())
        database = service.runtime.database
        power = Power(Path(f"{database.engine.url.database}-wal"))
        power.watch(database)
        service.start_workers(sweeping=False)
        made = Scene(service, sandbox, power, tmp_path)
        sandbox.app.before_request_funcs.setdefault(None, []).append(made.note)
        yield made
        service.stop_workers()
        service.runtime.close()


def test_what_leaves_the_process_is_on_the_disk_before(scene: Scene) -> None:
    end = scene.run("demo-008")
    assert scene.power.late  # else there is nothing to lose
    assert scene.asked.count("metadata") == 1  # about nobody: it may go out before
    assert {one for one, left in scene.at.items() if left.run is None} <= {"metadata"}
    asked, written = scene.at["Patient"], scene.at["write"]
    assert (asked.run, asked.audit) == (RunState.RUNNING, ["run"])
    assert (written.twins, written.ledger, written.unfinished) == (1, 1, 2)
    assert "deidentify" in written.audit
    assert (end.run, end.twins, end.unfinished) == (RunState.DONE, 1, 0)
    assert end.audit.count("write-back") == 2


def test_the_answer_is_what_is_kept(scene: Scene) -> None:
    """Who waits in the process that did it is handed it as it was made."""
    scene.run("demo-008")
    assert scene.answered is not None
    kept = scene.service.bundle(scene.answered.run.id)
    assert kept["entry"]
    assert orjson.loads(orjson.dumps(scene.answered.bundle)) == kept
    assert scene.service._awaiting == {}


def test_a_new_version_is_on_the_disk_before_the_chart_is_changed(scene: Scene) -> None:
    """Also where nothing new is taken in hand first: without creatinine there is no estimate, and
    the one before is withdrawn."""
    scene.run("demo-008", "ckd-epi-2021")
    for resource in scene.sandbox.resources("Observation"):
        if any(c["code"] == "14682-9" for c in resource["code"]["coding"]):
            wrong = {**resource, "status": "entered-in-error"}
            scene.sandbox.store.put("Observation", resource["id"], wrong)
    end = scene.run("demo-008", "ckd-epi-2021")
    assert scene.at["write"].ledger == 2
    assert end.ledger == 2


def test_a_new_version_is_on_the_disk_before_a_result_is_given_back_its_place(scene: Scene) -> None:
    """Nothing is taken in hand, and nothing of ours is noted before the server is told."""
    scene.run("demo-008", "ckd-epi-2021")
    creatinine = [
        resource
        for resource in scene.sandbox.resources("Observation")
        if any(c["code"] == "14682-9" for c in resource["code"]["coding"])
    ]
    for status in ("entered-in-error", "final"):
        for resource in creatinine:
            changed = {**resource, "status": status}
            scene.sandbox.store.put("Observation", resource["id"], changed)
        end = scene.run("demo-008", "ckd-epi-2021")
    assert scene.at["write"].ledger == 3
    assert end.ledger == 3
