"""One random schedule: processes that are killed, a network that breaks, then recovery."""

import json
import queue
import random
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from writeback_faults import FAULTS, WAYS, FaultyServer, faulty_server

from service.fhir.http import FhirClient
from service.fhir.outbox import OutboxState
from service.fhir.servers import Limits, ServerConfig
from service.fhir.writeback import NOT_SENT, WriteResult, resume, write_back
from service.stores import Database, open_database
from service.stores.database import utc_now
from service.stores.outbox import SqlOutboxStore

Json = dict[str, Any]
WORKER = Path(__file__).with_name("writeback_worker.py")
FORGES = 6
STEPS = ("enqueue", "take", "claim", "mark-sending", "write", "mark-end", "write-down")
TOGETHER = 0.5  # of the schedules; the others write one by one, as where there are earlier results
CALM = Limits(
    connect_seconds=5,
    read_seconds=10,
    budget_seconds=60,
    tries=3,
    first_pause_seconds=0.004,
    longest_pause_seconds=0.02,
)


@dataclass
class Scene:
    """What all schedules share."""

    folder: Path
    patient: list[Json]
    parcels: list[Json]
    forges: "queue.Queue[TextIO]" = field(default_factory=queue.Queue)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, patient: list[Json], parcels: list[Json]) -> Iterator["Scene"]:
        scene = cls(folder, patient, parcels)
        with ExitStack() as stack:
            for forge in _forges(stack):
                scene.forges.put(forge)
            yield scene

    def run(self, jobs: list[Json]) -> list[int]:
        """Each job in a process of its own, side by side; how each ended."""
        forge = self.forges.get()
        try:
            forge.write(json.dumps(jobs) + "\n")
            forge.flush()
            ends: list[int] = json.loads(forge.readline())
        finally:
            self.forges.put(forge)
        return ends


def _forges(stack: ExitStack) -> list[TextIO]:
    """Lines to processes that fork; they end with the stack, which closes what they read."""
    pairs = [socket.socketpair() for _ in range(FORGES)]
    numbers = [theirs.fileno() for _, theirs in pairs]
    command = [sys.executable, str(WORKER), *map(str, numbers)]
    stack.enter_context(
        subprocess.Popen(
            command, pass_fds=numbers, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    )
    for _, theirs in pairs:
        theirs.close()
    ours = [stack.enter_context(ours) for ours, _ in pairs]
    return [stack.enter_context(one.makefile("rw")) for one in ours]


@dataclass
class Report:
    """What a schedule met, and what it left behind."""

    seed: str
    way: str
    ends: list[int]
    met: list[str]
    problems: list[str]
    together: bool


@dataclass(frozen=True)
class Schedule:
    """Everything random about one run, drawn from its seed."""

    way: str
    plan: dict[int, str]
    chosen: list[int]
    rounds: list[list[Json]]
    settle_after: str
    """When the server does what it was asked long ago: before recovery, or after."""
    left: bool = False
    """Whether an earlier try was left off before it sent anything."""
    together: bool = False
    """Whether what nobody knows yet is taken in hand at once and written side by side."""

    @classmethod
    def drawn(cls, seed: str) -> "Schedule":
        dice = random.Random(seed)
        way = dice.choice(list(WAYS))
        length = dice.randrange(4, 40)
        density = dice.choice([0.0, 0.1, 0.25, 0.5])
        plan = {n: dice.choice(FAULTS) for n in range(length) if dice.random() < density}
        chosen = dice.choice([[0], [1], [0, 1]])
        rounds = [
            [_mortality(dice) for _ in range(dice.choice([1, 1, 2]))]
            for _ in range(dice.choice([1, 1, 2]))
        ]
        settle_after = dice.choice(["storm", "recovery"])
        together = dice.random() < TOGETHER
        return cls(way, plan, chosen, rounds, settle_after, together=together)


def _mortality(dice: random.Random) -> Json:
    kind = dice.choice(["lives", "step", "step", "alarm"])
    if kind == "step":
        step = dice.choice(STEPS)
        nth = dice.choice([1, 1, 2, 3])
        return {"death": {"step": step, "nth": nth, "side": dice.choice(["before", "after"])}}
    return {"alarm": dice.uniform(0.01, 0.25)} if kind == "alarm" else {}


def play(scene: Scene, place: Path, seed: str, schedule: Schedule | None = None) -> Report:
    """The storm, the recovery, and whether there is exactly one of each."""
    drawn = schedule or Schedule.drawn(seed)
    file = place / f"{seed}.db"
    shutil.copyfile(scene.folder / "empty.db", file)
    if drawn.left:
        leave(scene, file, drawn.chosen)
    ends: list[int] = []
    with faulty_server(scene.patient, drawn.way, drawn.plan) as server:
        for deaths in drawn.rounds:
            jobs = [
                {
                    "base": server.base,
                    "database": f"sqlite:///{file}",
                    "parcels": str(scene.folder / "parcels.json"),
                    "chosen": drawn.chosen,
                    "together": drawn.together,
                    # Only a network that breaks needs clients that give up soon.
                    "patience": 0.12 if drawn.plan else 10,
                    **death,
                }
                for death in deaths
            ]
            ends += scene.run(jobs)
        server.faults.calm()
        problems = recovered(scene, server, file, drawn)
        met = server.faults.met
    file.unlink()
    return Report(seed, drawn.way, ends, met, problems, drawn.together)


def leave(scene: Scene, file: Path, chosen: list[int]) -> None:
    database = open_database(f"sqlite:///{file}", pool_size=1, busy_seconds=20)
    outbox = SqlOutboxStore(database)
    for parcel in (scene.parcels[i] for i in chosen):
        payload = {"server": "test", "resources": parcel["resources"]}
        (item,) = outbox.take(parcel["key"], json.dumps(payload).encode(), lease_seconds=0)
        assert outbox.mark(item.key, item.attempt, OutboxState.PENDING, NOT_SENT)
    database.close()


def recovered(scene: Scene, server: FaultyServer, file: Path, drawn: Schedule) -> list[str]:
    """The next process on a calm day: it finds the leases run out and finishes everything."""
    database = open_database(f"sqlite:///{file}", pool_size=1, busy_seconds=20)
    try:
        if drawn.settle_after == "storm":
            server.faults.settle()
        results = _run_again(scene, server, database, drawn)
        if server.faults.settle():
            results = _run_again(scene, server, database, drawn)
        problems = [f"not confirmed: {r.state} {r.detail}" for r in results if not r.verified]
        problems += _miscounted(scene, server, drawn)
        again = _run_again(scene, server, database, drawn)
        problems += ["written again" for r in again if r.written or r.retired]
    finally:
        database.close()
    return problems


def _run_again(
    scene: Scene, server: FaultyServer, database: Database, drawn: Schedule
) -> list[WriteResult]:
    outbox = SqlOutboxStore(database, lambda: utc_now() + timedelta(hours=1))

    def client(_: str = "") -> FhirClient:
        return FhirClient(ServerConfig("test", server.base, limits=CALM))

    resume(outbox, client, bytes, bytes)
    with client() as one:
        return [
            write_back(one, scene.parcels[i]["resources"], outbox, scene.parcels[i]["key"], bytes)
            for i in drawn.chosen
        ]


def _miscounted(scene: Scene, server: FaultyServer, drawn: Schedule) -> list[str]:
    wanted = Counter(
        resource["resourceType"] for i in drawn.chosen for resource in scene.parcels[i]["resources"]
    )
    results = [r for k in ("RiskAssessment", "Observation") for r in server.ours(k)]
    alive = {f"{r['resourceType']}/{r['id']}" for r in results}
    devices = {f"Device/{r['id']}" for r in server.ours("Device")}
    origins = [
        {str(target["reference"]) for target in resource["target"]}
        for resource in server.ours("Provenance")
        if resource["activity"]["coding"][0]["code"] != "NULLIFY"
    ]
    speaking = [targets for targets in origins if targets & alive]
    found = Counter(r["resourceType"] for r in results)
    found |= Counter({"Device": len(devices), "Provenance": len(speaking)})
    problems = [
        f"{kind}: {found[kind]} where {number} should be"
        for kind, number in wanted.items()
        if found[kind] != number
    ]
    made_by = {(r.get("performer") or r.get("device"))["reference"] for r in results}
    problems += ["made by a device that was withdrawn"] if made_by - devices else []
    return problems
