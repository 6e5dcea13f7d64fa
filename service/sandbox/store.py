"""Resources in memory: every version kept, one lock, snapshots for all-or-nothing writes.

A stored dict is never changed in place; each write puts a new one, so readers need no copy.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

Resource = dict[str, Any]
Clock = Callable[[], datetime]
Table = OrderedDict[str, tuple[Resource, ...]]


def utc_now() -> datetime:
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def subject_id(resource: Resource) -> str | None:
    """The id of the Patient a resource is about, or None."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    holder = resource.get("subject") or resource.get("patient") or {}
    reference = holder.get("reference", "") if isinstance(holder, dict) else ""
    return reference.rsplit("/", 1)[1] if "Patient/" in reference else None


FEW = 3


def groups(store: "Store") -> list[Resource]:
    """To export: all patients as one Group, and the first few as another."""
    people = [{"entity": {"reference": f"Patient/{r['id']}"}} for r in store.all("Patient")]
    return [
        {
            "resourceType": "Group",
            "id": name,
            "type": "person",
            "actual": True,
            "quantity": len(members),
            "member": members,
        }
        for name, members in (("everyone", people), ("few", people[:FEW]))
        if members
    ]


class Gone(NamedTuple):
    """A resource that was deleted."""

    time: datetime
    kind: str
    id: str
    patient: str | None


class Store:
    def __init__(self, clock: Clock = utc_now, version: Callable[[int], str] = str) -> None:
        self.lock = threading.RLock()
        self._clock = clock
        self._version = version
        self._versions: dict[str, Table] = {}
        self._of_patient: dict[tuple[str, str], OrderedDict[str, None]] = {}
        self._gone: list[Gone] = []
        self.listeners: list[Callable[[Resource, str], None]] = []
        """Told of each write, with its method, after it is done."""

    def now(self) -> datetime:
        return self._clock()

    # -- reading ---------------------------------------------------------------------------------

    def read(self, kind: str, identity: str) -> Resource | None:
        versions = self._versions.get(kind, Table()).get(identity)
        return versions[-1] if versions else None

    def version(self, kind: str, identity: str, version: str) -> Resource | None:
        for resource in self._versions.get(kind, Table()).get(identity, ()):
            if resource["meta"]["versionId"] == version:
                return resource
        return None

    def all(self, kind: str) -> list[Resource]:
        with self.lock:
            return [versions[-1] for versions in self._versions.get(kind, {}).values()]

    def of_patient(self, kind: str, patient: str) -> list[Resource]:
        with self.lock:
            table = self._versions.get(kind, Table())
            return [table[identity][-1] for identity in self._of_patient.get((kind, patient), ())]

    def count(self, kind: str) -> int:
        return len(self._versions.get(kind, {}))

    def counts(self) -> dict[str, int]:
        return {kind: len(table) for kind, table in sorted(self._versions.items()) if table}

    # -- writing ---------------------------------------------------------------------------------

    def load(self, resources: Iterable[Resource]) -> None:
        """Put resources as they are (ids and meta kept); the same id again replaces the first."""
        with self.lock:
            for resource in resources:
                meta = {
                    "versionId": self._version(1),
                    "lastUpdated": instant(self._clock()),
                } | resource.get("meta", {})
                stored = {**resource, "meta": meta}
                self._table(stored["resourceType"])[stored["id"]] = (stored,)
                self._index(stored)

    def seconds(self) -> float:
        """Its clock, for the `Date` of answers."""
        return self._clock().timestamp()

    def put(self, kind: str, identity: str, resource: Resource) -> Resource:
        """Store a new version under this id; the server sets id, version and time."""
        with self.lock:
            table = self._table(kind)
            versions = table.get(identity, ())
            meta = {
                **resource.get("meta", {}),
                "versionId": self._version(len(versions) + 1),
                "lastUpdated": instant(self._clock()),
            }
            stored = {"resourceType": kind, **resource, "id": identity, "meta": meta}
            if versions:
                self._unindex(versions[-1])
            table[identity] = (*versions, stored)
            self._index(stored)
        self._tell(stored, "PUT" if versions else "POST")
        return stored

    def delete(self, kind: str, identity: str) -> None:
        """As its owner would on the server itself; over HTTP nobody deletes here."""
        with self.lock:
            newest = self._table(kind).pop(identity)[-1]
            self._unindex(newest)
            self._gone.append(Gone(self._clock(), kind, identity, subject_id(newest)))
        self._tell(newest, "DELETE")

    def _tell(self, resource: Resource, method: str) -> None:
        for listener in self.listeners:
            listener(resource, method)

    def gone(self) -> list[Gone]:
        return list(self._gone)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Hold the lock; on any error put everything back as it was."""
        with self.lock:
            versions = {kind: OrderedDict(table) for kind, table in self._versions.items()}
            index = {key: OrderedDict(ids) for key, ids in self._of_patient.items()}
            try:
                yield
            except BaseException:
                self._versions, self._of_patient = versions, index
                raise

    # -- inside ----------------------------------------------------------------------------------

    def _table(self, kind: str) -> Table:
        return self._versions.setdefault(kind, OrderedDict())

    def _index(self, resource: Resource) -> None:
        patient = subject_id(resource)
        if patient is not None:
            key = (resource["resourceType"], patient)
            self._of_patient.setdefault(key, OrderedDict())[resource["id"]] = None

    def _unindex(self, resource: Resource) -> None:
        patient = subject_id(resource)
        if patient is not None:
            self._of_patient[(resource["resourceType"], patient)].pop(resource["id"], None)
