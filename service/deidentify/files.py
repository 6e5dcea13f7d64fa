"""Files in, files out: in two passes, one resource at a time, under names that say nothing."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from privacy.render import bundle
from service.deidentify.batch import Batch, Given
from service.deidentify.people import People
from service.deidentify.reading import read_line, resources_of
from service.fhir.errors import SourceError
from service.fhir.source import DEFAULT_CAP, Parsed, read_parsed, some_lines

Resource = dict[str, Any]

NDJSON = (".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")
JSON = (".json", ".json.gz")
_TYPED = b'{"resourceType":"'
PORTION = 1 << 20  # bytes of lines that are searched together


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of one run: those with a resource a line, and those that are one JSON value."""

    by_line: tuple[Path, ...]
    whole: tuple[Path, ...]

    @staticmethod
    def of(path: Path) -> "Inputs":
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found = Inputs(
            tuple(file for file in files if file.name.lower().endswith(NDJSON)),
            tuple(file for file in files if file.name.lower().endswith(JSON)),
        )
        if not found.by_line and not found.whole:
            raise SourceError("holds no FHIR", "Give *.json or *.ndjson, .gz too, or a folder.")
        return found

    def patients(self, cap: int = DEFAULT_CAP) -> Iterator[Any]:
        """Every resource that may be a Patient, references made plain."""
        for path in self.by_line:
            with self.reading(path):
                some = chain.from_iterable(some_lines(path, cap, _may_hold_a_patient))
                yield from map(read_line, filter(_may_be_a_patient, some))
        for path in self.whole:
            with self.reading(path):
                found = read_parsed(path, cap)
                yield from resources_of(found.value, found.referring)

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Of many files, an error says which: by its place, because a name may be a person's."""
        files = sorted((*self.by_line, *self.whole))
        try:
            yield
        except SourceError as error:
            if len(files) == 1:
                raise
            place = f"file {files.index(path) + 1} of {len(files)}, in the order of their names"
            raise SourceError(error.sentence, error.next_step, kind=place) from None


def _may_hold_a_patient(text: bytes) -> bool:
    """The word, or characters that are spelled otherwise: of what is read at once, mostly neither.
    (That there is a backslash at all is seen sooner than what follows it.)"""
    return b'"Patient"' in text or (b"\\" in text and b"\\u" in text)


def _may_be_a_patient(line: bytes) -> bool:
    """The same of one line: most need not be read for this.

    Of most the type stands first. What then says it again, and differently, is refused when read.
    """
    if line.startswith(_TYPED):
        kind = line[len(_TYPED) : line.find(b'"', len(_TYPED))]
        return kind == b"Patient" or b"\\" in kind
    return _may_hold_a_patient(line)


def people_of(inputs: Inputs, batch: str) -> People:
    """The first pass."""
    people = People(batch)
    people.read(inputs.patients())
    return people


def write(
    inputs: Inputs,
    batch: Batch,
    out: Path,
    *,
    record: Callable[[list[Resource]], None],
    seen: Callable[[int], None] = lambda count: None,
) -> None:
    """The second pass. `record` is told names, sizes and digests of what was written before any of
    it can be seen under its name: what cannot be recorded is not handed out."""
    with Folder(out) as folder:
        for path in inputs.by_line:
            with inputs.reading(path):
                for some in _portions(some_lines(path, DEFAULT_CAP)):
                    folder.lines(batch.apply(some))
                    seen(len(some))
        for number, path in enumerate(inputs.whole, 1):
            with inputs.reading(path):
                found = read_parsed(path)
                folder.whole(f"{number:04}.json", *rendered(found, batch))
                seen(1)
        record(folder.outputs())


def _portions(found: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    """As many lines as are searched together: of a file of any size, a little at a time."""
    some: list[bytes] = []
    size = 0
    for lines in found:
        some += lines
        size += sum(map(len, lines))
        if size >= PORTION:
            yield some
            some, size = [], 0
    if some:
        yield some


def rendered(found: Parsed, batch: Batch) -> tuple[bytes, int]:
    """A Bundle as a Bundle, a resource as a resource, nothing when it was refused; with how many
    there are in it."""
    bundled = type(found.value) is dict and found.value.get("resourceType") == "Bundle"
    made = batch.apply(resources_of(found.value, found.referring), bundled=bundled)
    if bundled:
        return orjson.dumps(bundle_of(made)), len(made)
    return (made[0].data, 1) if made else (b"", 0)


def bundle_of(made: Sequence[Given]) -> Resource:
    """Of entries, for orjson to write down as they were searched."""
    return bundle([orjson.Fragment(given.data) for given in made])


class Folder:
    """The output: for its owner alone, and under its names only when all of it is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _Output] = {}

    def __enter__(self) -> "Folder":
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(self._folder.iterdir()):
            raise SourceError("is not empty", "Give a new folder for the output.", kind="folder")
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        for output in self._files.values():
            output.close(keep=failed is None)

    def lines(self, made: Iterable[Given]) -> None:
        by_type: dict[str, list[bytes]] = defaultdict(list)
        for _, kind, data in made:
            by_type[kind].append(data)
        for kind, lines in by_type.items():
            self._output(f"{kind}.ndjson").write(b"\n".join([*lines, b""]), len(lines))

    def whole(self, name: str, data: bytes, count: int) -> None:
        """Of nothing there is no file."""
        if data:
            self._output(name).write(data, count)

    def outputs(self) -> list[Resource]:
        return [output.as_entry() for output in self._files.values()]

    def _output(self, name: str) -> "_Output":
        if name not in self._files:
            self._files[name] = _Output(self._folder / name)
        return self._files[name]


class _Output:
    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(f".{path.name}.part")
        handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        self._digest = hashlib.sha256()
        self._count = 0

    def write(self, data: bytes, count: int) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._count += count

    def close(self, *, keep: bool) -> None:
        self._file.close()
        if keep:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def as_entry(self) -> Resource:
        digest = f"sha256:{self._digest.hexdigest()}"
        return {"name": self._path.name, "n": self._count, "digest": digest}
