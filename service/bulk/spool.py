"""The sealed spool: the lines of an export, grouped by patient, on disk and not readable there.

One SQLite file. A row holds some lines of one patient, packed and sealed under the key of the job
(AES-256-GCM, bound to its place); it is found by a keyed hash. Who holds the file without the key
learns how many people and lines there are, and what types. The key is kept sealed with the job and
destroyed with it: then the file is noise, wherever copies of it lie.

Lines are written under the number of their load. They count once the load is marked as done, in the
same transaction as their end: a killed process leaves rows that nobody reads.
"""

import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

import orjson

from privacy.vault import derive, seal, unseal
from service.bulk.errors import SpoolFailed
from service.bulk.manifest import Listed

FILE = "spool.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
  n INTEGER PRIMARY KEY, section TEXT NOT NULL, type TEXT NOT NULL, sealed BLOB NOT NULL,
  key BLOB NOT NULL UNIQUE, count INTEGER, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  load INTEGER UNIQUE, tally TEXT NOT NULL DEFAULT '{}', tries INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS rows (
  owner BLOB NOT NULL, kind INTEGER NOT NULL, load INTEGER NOT NULL, lines INTEGER NOT NULL,
  sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS people (
  owner BLOB NOT NULL, load INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (owner, load)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS touched (owner BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS made (owner BLOB PRIMARY KEY, how TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bad (file INTEGER, line INTEGER, why TEXT, load INTEGER);
CREATE VIEW IF NOT EXISTS everybody AS
  SELECT owner, people.sealed AS sealed FROM people JOIN files USING (load)
  UNION ALL SELECT owner, sealed FROM touched;
"""
_INDEX = "CREATE INDEX IF NOT EXISTS rows_by_owner ON rows (owner, kind)"
FLUSH_BYTES = 1 << 22
AT_ONCE = 500


class Kind(IntEnum):
    """What a row is about: whose `owner` it is the keyed hash of."""

    PATIENT = 0  # resources of this Patient
    SHARED = 1  # the Medication of this id
    EARLIER = 2  # Patients that say they were replaced by this one
    DELETED = 3  # nothing: that the resource of this name is gone


@dataclass(frozen=True, slots=True)
class File:
    n: int
    section: str
    type: str
    url: str = field(repr=False)
    count: int | None
    state: str
    """`waiting`, `done` or `failed`"""
    reason: str
    tally: Mapping[str, Any]


@dataclass(slots=True)
class Load:
    """One file on its way in. What it gathered is written when there is enough of it."""

    n: int
    file: int
    lines: dict[tuple[Kind, str], list[bytes]] = field(default_factory=dict)
    people: set[str] = field(default_factory=set)
    bad: list[tuple[int, str]] = field(default_factory=list)
    size: int = 0

    def add(self, kind: Kind, owner: str, line: bytes) -> None:
        self.lines.setdefault((kind, owner), []).append(line)
        self.size += len(line) + 64


class Spool:
    """Safe for several threads."""

    def __init__(self, path: Path, key: bytes) -> None:
        _create_private(path)
        self._seal_key, self._name_key = derive(key, "spool rows"), derive(key, "spool names")
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._lock = threading.RLock()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # -- files -------------------------------------------------------------------------------------

    def expect(self, files: Iterable[Listed]) -> None:
        """Write down what is to be fetched; a file that is known already stays as it is."""
        with self._transaction():
            for file in files:
                name = self._name("file", file.url)
                url = self._sealed(file.url.encode(), name)
                self._database.execute(
                    "INSERT INTO files (section, type, sealed, key, count, state) "
                    "VALUES (?, ?, ?, ?, ?, 'waiting') ON CONFLICT (key) DO NOTHING",
                    (file.section, file.type, url, name, file.count),
                )

    def relocate(self, files: Iterable[Listed]) -> None:
        """New addresses of the same files, as a manifest that is fetched again gives them: by their
        place in its sections."""
        with self._transaction():
            rows = self._database.execute("SELECT n, section, type, state FROM files ORDER BY n")
            places: dict[tuple[str, int], tuple[int, str, str]] = {}
            counted: Counter[str] = Counter()
            for n, section, kind, state in rows.fetchall():
                places[section, counted[section]] = n, kind, state
                counted[section] += 1
            counted.clear()
            for file in files:
                n, kind, state = places.get((file.section, counted[file.section]), (0, "", ""))
                counted[file.section] += 1
                if state == "waiting" and kind == file.type:
                    self._move(n, file.url)

    def _move(self, n: int, url: str) -> None:
        name = self._name("file", url)
        self._database.execute(
            "UPDATE OR IGNORE files SET sealed = ?, key = ? WHERE n = ?",
            (self._sealed(url.encode(), name), name, n),
        )

    def files(self, state: str = "") -> Iterator[File]:
        """All of them, or those in one state, a few at a time."""
        last = 0
        while True:
            with self._lock:
                rows = self._database.execute(
                    "SELECT n, section, type, sealed, key, count, state, reason, tally FROM files "
                    "WHERE n > ? AND state LIKE ? ORDER BY n LIMIT ?",
                    (last, state or "%", AT_ONCE),
                ).fetchall()
            for n, section, kind, sealed, key, count, now, reason, tally in rows:
                url = self._opened(sealed, key).decode()
                yield File(n, section, kind, url, count, now, reason, orjson.loads(tally))
            if len(rows) < AT_ONCE:
                return
            last = rows[-1][0]

    def number_of_files(self, state: str = "") -> int:
        with self._lock:
            found = self._database.execute(
                "SELECT count(*) FROM files WHERE state LIKE ?", (state or "%",)
            ).fetchone()
        return int(found[0])

    def try_(self, file: int) -> None:
        with self._transaction():
            self._database.execute("UPDATE files SET tries = tries + 1 WHERE n = ?", (file,))

    def tried(self, file: int) -> int:
        with self._lock:
            found = self._database.execute("SELECT tries FROM files WHERE n = ?", (file,))
            return int(found.fetchone()[0])

    def ignored(self, file: int) -> None:
        """It holds nothing of ours, and was never meant to."""
        with self._transaction():
            self._database.execute("UPDATE files SET state = 'ignored' WHERE n = ?", (file,))

    def failed(self, file: int, reason: str) -> None:
        with self._transaction():
            self._database.execute(
                "UPDATE files SET state = 'failed', reason = ? WHERE n = ?", (reason, file)
            )

    # -- lines in ----------------------------------------------------------------------------------

    def begin(self, file: int) -> Load:
        return Load(secrets.randbits(62), file)

    def put(self, load: Load) -> None:
        """Seal and write what was gathered, if it is worth a write."""
        if load.size >= FLUSH_BYTES:
            write = self._writer(load)
            with self._transaction():
                write()

    def end(self, load: Load, tally: Mapping[str, Any], reason: str = "") -> None:
        """From here on the lines of this file count, and survive whatever comes."""
        write = self._writer(load)
        with self._transaction():
            write()
            self._database.execute(
                "UPDATE files SET state = 'done', load = ?, tally = ?, reason = ? WHERE n = ?",
                (load.n, orjson.dumps(tally).decode(), reason, load.file),
            )

    def _writer(self, load: Load) -> Callable[[], None]:
        """Seals what was gathered, outside of the transaction that it is then written in."""
        rows, people = self._rows(load), self._people(load)
        bad = [(load.file, line, why, load.n) for line, why in load.bad]
        load.lines, load.people, load.bad, load.size = {}, set(), [], 0

        def write() -> None:
            self._database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", rows)
            self._database.executemany("INSERT OR IGNORE INTO people VALUES (?, ?, ?)", people)
            self._database.executemany("INSERT INTO bad VALUES (?, ?, ?, ?)", bad)

        return write

    def _rows(self, load: Load) -> list[tuple[bytes, int, int, int, bytes]]:
        rows = []
        for (kind, owner), lines in load.lines.items():
            name = self._name(kind.name, owner)
            packed = zlib.compress(b"\n".join(lines), 1)
            rows.append((name, int(kind), load.n, len(lines), self._sealed(packed, name)))
        return rows

    def _people(self, load: Load) -> list[tuple[bytes, int, bytes]]:
        names = ((self._name(Kind.PATIENT.name, who), who) for who in load.people)
        return [(name, load.n, self._sealed(who.encode(), name)) for name, who in names]

    # -- lines out ---------------------------------------------------------------------------------

    def index(self) -> None:
        """Once, when everything is in: an index kept up to date on the way would cost more."""
        with self._transaction():
            self._database.execute(_INDEX)

    def lines(self, kind: Kind, owner: str) -> list[bytes]:
        name = self._name(kind.name, owner)
        with self._lock:
            rows = self._database.execute(
                "SELECT rows.sealed FROM rows JOIN files USING (load) "
                "WHERE owner = ? AND kind = ? ORDER BY load",
                (name, int(kind)),
            ).fetchall()
        packed = (self._opened(sealed, name) for (sealed,) in rows)
        return [line for part in packed for line in zlib.decompress(part).split(b"\n") if line]

    def number_of_lines(self, kind: Kind, owner: str) -> int:
        with self._lock:
            found = self._database.execute(
                "SELECT total(lines) FROM rows JOIN files USING (load) "
                "WHERE owner = ? AND kind = ?",
                (self._name(kind.name, owner), int(kind)),
            ).fetchone()
        return int(found[0])

    def has(self, kind: Kind, owner: str) -> bool:
        with self._lock:
            found = self._database.execute(
                "SELECT 1 FROM rows JOIN files USING (load) WHERE owner = ? AND kind = ? LIMIT 1",
                (self._name(kind.name, owner), int(kind)),
            ).fetchone()
        return found is not None

    def deleted(self) -> Iterator[str]:
        """The names of all that was deleted, one by one."""
        last = 0
        while True:
            with self._lock:
                rows = self._database.execute(
                    "SELECT rows.rowid, owner, rows.sealed FROM rows JOIN files USING (load) "
                    "WHERE kind = ? AND rows.rowid > ? ORDER BY rows.rowid LIMIT ?",
                    (int(Kind.DELETED), last, AT_ONCE),
                ).fetchall()
            for _, owner, sealed in rows:
                yield zlib.decompress(self._opened(sealed, owner)).split(b"\n")[0].decode()
            if len(rows) < AT_ONCE:
                return
            last = rows[-1][0]

    def touch(self, who: str) -> None:
        """Somebody to be looked at who is in no file."""
        name = self._name(Kind.PATIENT.name, who)
        with self._transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO touched VALUES (?, ?)",
                (name, self._sealed(who.encode(), name)),
            )

    def any(self, kind: Kind) -> bool:
        with self._lock:
            found = self._database.execute(
                "SELECT 1 FROM rows JOIN files USING (load) WHERE kind = ? LIMIT 1", (int(kind),)
            ).fetchone()
        return found is not None

    def people(self) -> Iterator[str]:
        """Everybody who is still to be made, a few at a time."""
        last = b""
        while True:
            with self._lock:
                rows = self._database.execute(
                    "SELECT owner, min(sealed) FROM everybody "
                    "WHERE owner > ? AND owner NOT IN (SELECT owner FROM made) "
                    "GROUP BY owner ORDER BY owner LIMIT ?",
                    (last, AT_ONCE),
                ).fetchall()
            for owner, sealed in rows:
                yield self._opened(sealed, owner).decode()
            if len(rows) < AT_ONCE:
                return
            last = rows[-1][0]

    def knows(self, who: str) -> bool:
        """Whether there is a Patient of this id."""
        with self._lock:
            found = self._database.execute(
                "SELECT 1 FROM people JOIN files USING (load) WHERE owner = ? LIMIT 1",
                (self._name(Kind.PATIENT.name, who),),
            ).fetchone()
        return found is not None

    def number_of_people(self) -> int:
        with self._lock:
            found = self._database.execute("SELECT count(DISTINCT owner) FROM everybody").fetchone()
        return int(found[0])

    def strangers(self) -> int:
        """How many people are spoken of whose Patient is not there."""
        with self._lock:
            found = self._database.execute(
                "SELECT count(DISTINCT owner) FROM rows JOIN files USING (load) "
                "WHERE kind = 0 AND owner NOT IN "
                "(SELECT owner FROM people JOIN files USING (load))"
            ).fetchone()
        return int(found[0])

    def made(self, who: str, how: str) -> None:
        """What came of somebody, as a word. Nobody is done twice."""
        with self._transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO made VALUES (?, ?)",
                (self._name(Kind.PATIENT.name, who), how),
            )

    def outcomes(self) -> dict[str, int]:
        with self._lock:
            rows = self._database.execute("SELECT how, count(*) FROM made GROUP BY how").fetchall()
        return {str(word): int(count) for word, count in rows}

    def bad_lines(self, limit: int = 1000) -> list[tuple[int, int, str]]:
        """(file, line, why) of lines nobody could read: where they are, never what they say."""
        with self._lock:
            rows = self._database.execute(
                "SELECT file, line, why FROM bad JOIN files USING (load) "
                "ORDER BY file, line LIMIT ?",
                (limit,),
            ).fetchall()
        return [(int(file), int(line), str(why)) for file, line, why in rows]

    # -- inside ------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            if self._database.in_transaction:
                yield
                return
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except sqlite3.Error:
                self._undo()
                raise SpoolFailed from None
            except BaseException:
                self._undo()
                raise

    def _undo(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def _name(self, kind: str, text: str) -> bytes:
        message = f"{kind}|{text}".encode()
        return hmac.new(self._name_key, message, hashlib.sha256).digest()[:16]

    def _sealed(self, data: bytes, place: bytes) -> bytes:
        return seal(self._seal_key, data, place)

    def _opened(self, sealed: bytes, place: bytes) -> bytes:
        return unseal(self._seal_key, sealed, place)


def _create_private(path: Path) -> None:
    """SQLite gives its journal files the mode of the database file: 0600 from the first byte."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
