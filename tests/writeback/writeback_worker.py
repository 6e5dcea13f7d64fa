"""Processes that write and are killed: what they need is loaded once, every job is a real process.

The arguments are sockets; each is served by a process of its own. A line of JSON in: the jobs to
run side by side. A line out: how each ended (0, 4 for a server that let it down, or minus the
signal). A job dies by SIGKILL before or after the step it names, or by an alarm at any moment.
"""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import configure_mappers

from service import collector
from service.fhir.capability import Capability, read_capability
from service.fhir.errors import FhirError
from service.fhir.http import FhirClient
from service.fhir.outbox import Note, OutboxItem, OutboxState
from service.fhir.servers import Limits, ServerConfig
from service.fhir.together import side_by_side
from service.fhir.writeback import Taken, look_together, payload_of, resume, write_back
from service.pipeline.held import HeldOutbox
from service.stores import Database, open_database, open_engine
from service.stores.outbox import SqlOutboxStore

T = TypeVar("T")

IMPATIENT = Limits(
    connect_seconds=2,
    budget_seconds=20,
    tries=2,
    first_pause_seconds=0.004,
    longest_pause_seconds=0.02,
)
LEASE = 0.2
FAILED = 4


class Death:
    """Comes at one step: the n-th of its name, before or after it was taken."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._seen = 0
        self._lock = threading.Lock()

    def _is_due(self, step: str) -> bool:
        with self._lock:  # steps are taken side by side
            mine = step == self._plan.get("step")
            self._seen += mine
            return mine and bool(self._seen == self._plan["nth"])

    def at(self, step: str, act: Callable[[], T]) -> T:
        due = self._is_due(step)
        if due and self._plan["side"] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = act()
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class MortalStore(SqlOutboxStore):
    def __init__(self, database: Database, death: Death) -> None:
        super().__init__(database)
        self._death = death

    def mark(self, *args: Any) -> bool:
        """What was read back is written down later than it is told, and with something else."""
        return self._death.at("write-down", lambda: super(MortalStore, self).mark(*args))


class MortalOutbox(HeldOutbox):
    def __init__(self, store: SqlOutboxStore, death: Death) -> None:
        super().__init__(store, LEASE)
        self._death = death

    def enqueue(self, key: str, payload: bytes) -> bool:
        return self._death.at("enqueue", lambda: super(MortalOutbox, self).enqueue(key, payload))

    def take(self, key: str, payload: bytes, *, lease_seconds: float = 0) -> list[OutboxItem]:
        return self._death.at(
            "take",
            lambda: super(MortalOutbox, self).take(key, payload, lease_seconds=lease_seconds),
        )

    def take_all(self, payloads: Mapping[str, bytes]) -> dict[str, OutboxItem]:
        return self._death.at("take", lambda: super(MortalOutbox, self).take_all(payloads))

    def claim(
        self, *, limit: int = 1, lease_seconds: float = 0, key: str | None = None
    ) -> list[OutboxItem]:
        return self._death.at(
            "claim",
            lambda: super(MortalOutbox, self).claim(
                limit=limit, lease_seconds=lease_seconds, key=key
            ),
        )

    def mark(
        self,
        key: str,
        attempt: int,
        state: OutboxState,
        detail: str = "",
        result: bytes | None = None,
        note: Note | None = None,
    ) -> bool:
        step = "mark-sending" if state is OutboxState.SENDING else "mark-end"
        return self._death.at(
            step, lambda: super(MortalOutbox, self).mark(key, attempt, state, detail, result, note)
        )


class MortalClient(FhirClient):
    def __init__(self, base: str, death: Death, patience: float) -> None:
        limits = replace(IMPATIENT, read_seconds=patience)
        super().__init__(ServerConfig("test", base, limits=limits))
        self._death = death

    def write(self, *args: Any, **kwargs: Any) -> Any:
        return self._death.at("write", lambda: super(MortalClient, self).write(*args, **kwargs))


def plain(data: bytes) -> bytes:
    return data


def work(job: dict[str, Any]) -> None:
    """Write every parcel, as a run does; then finish what others left, as the sweeper does."""
    death = Death(job.get("death") or {})
    database = open_database(job["database"], pool_size=1, busy_seconds=20)
    if job.get("alarm"):
        signal.setitimer(signal.ITIMER_REAL, job["alarm"])
    parcels = json.loads(Path(job["parcels"]).read_bytes())
    chosen = [parcels[i] for i in job["chosen"]]
    write = write_together if job["together"] else write_one_by_one

    def client(_: str = "") -> MortalClient:
        return MortalClient(job["base"], death, job["patience"])

    store = MortalStore(database, death)
    with MortalOutbox(store, death) as outbox:
        with client() as one:
            new = not store.known([parcel["key"] for parcel in chosen])
            write(one, outbox, chosen) if new else write_one_by_one(one, outbox, chosen)
        resume(outbox, client, plain, plain)


def write_one_by_one(client: MortalClient, outbox: MortalOutbox, parcels: list[Any]) -> None:
    for parcel in parcels:
        write_back(client, parcel["resources"], outbox, parcel["key"], plain)


def write_together(client: MortalClient, outbox: MortalOutbox, parcels: list[Any]) -> None:
    """Looked for, taken in hand and written side by side, as `service.refresh.chart` does with
    results of which none is known yet."""
    capability = read_capability(client)
    look = look_together(client, capability, [parcel["resources"] for parcel in parcels])
    if look is None:
        write_one_by_one(client, outbox, parcels)
        return
    payloads = {p["key"]: payload_of(client, p["resources"], plain, None) for p in parcels}
    items = outbox.take_all(payloads)
    taken = {key: Taken(item, look if item.attempt == 1 else None) for key, item in items.items()}
    each = [partial(_write, client, outbox, p, capability, taken.get(p["key"])) for p in parcels]
    if len(taken) == len(each):
        side_by_side(each, client.server.limits.concurrency)
    else:
        for one in each:
            one()


def _write(
    client: MortalClient,
    outbox: MortalOutbox,
    parcel: Any,
    capability: Capability,
    taken: Taken | None,
) -> None:
    resources, key = parcel["resources"], parcel["key"]
    write_back(client, resources, outbox, key, plain, capability=capability, taken=taken)


def fork(job: dict[str, Any]) -> int:
    process = os.fork()
    if process == 0:
        try:
            work(job)
        except FhirError:
            os._exit(FAILED)  # as a run that its server lets down
        except BaseException as error:  # noqa: BLE001 - told, then the process is gone
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return process


def warm() -> None:
    """What a process works out once, whatever it does then: no job has to."""
    configure_mappers()
    engine = open_engine("sqlite://")
    engine.connect().close()
    engine.dispose()
    collector.settle()


def serve(connection: socket.socket) -> None:
    with connection.makefile("rw") as stream:
        for line in stream:
            processes = [fork(job) for job in json.loads(line)]
            ends = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
            stream.write(json.dumps(ends) + "\n")
            stream.flush()


def main() -> None:
    warm()
    connections = [socket.socket(fileno=int(number)) for number in sys.argv[1:]]
    for mine in connections:
        if os.fork() == 0:
            for other in connections:
                if other is not mine:
                    other.close()
            serve(mine)
            os._exit(0)
    for one in connections:
        one.close()
    while connections:
        os.wait()
        connections.pop()


if __name__ == "__main__":
    main()
