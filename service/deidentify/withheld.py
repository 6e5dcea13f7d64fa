"""Sealed records of one batch, kept out of the vault until the whole batch is recorded.

A batch may have more people than memory holds sessions for. What is put away of them before its end
stands in a file without a name, sealed as in the vault; it reaches the vault in the transaction
that writes the ledger entry, or never.
"""

from tempfile import SpooledTemporaryFile
from typing import NamedTuple

from privacy.vault import SubjectRecord, Vault

IN_MEMORY = 4 << 20  # bytes; of more, a file


class _Place(NamedTuple):
    """Where a sealed record stands in the file."""

    start: int
    size: int


class Withheld:
    """The vault as one batch sees it. For one thread."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by close
        self._places: dict[str, _Place] = {}
        self._seen: dict[str, int] = {}  # versions in the vault, when first looked for

    def close(self) -> None:
        """What was not released is gone."""
        self._file.close()

    def load(self, project: str, base: str, patient: str) -> SubjectRecord | None:
        index = self._vault.index(project, base, patient)
        place = self._places.get(index)
        if place is not None:
            return self._vault.open(index, self._read(place))
        found = self._vault.load_at(index)
        self._seen[index] = 0 if found is None else found[1]
        return None if found is None else found[0]

    def save(self, record: SubjectRecord) -> None:
        """Of a person who was looked for; in place of what was put away of them before."""
        index = self._vault.index(record.project, record.base, record.patient)
        sealed = self._vault.seal(index, record)
        self._places[index] = _Place(self._file.seek(0, 2), len(sealed))
        self._file.write(sealed)

    def release(self) -> None:
        """All of it into the vault, once; ConflictError when another writer was faster with any."""
        for index, place in self._places.items():
            self._vault.put(index, self._read(place), self._seen[index])
        self.close()

    def _read(self, place: _Place) -> bytes:
        self._file.seek(place.start)
        return self._file.read(place.size)
