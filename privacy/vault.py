"""The vault's cryptography: what is identified is sealed; a store sees keyed names and noise.

    key-encryption key (32 bytes, outside the database)
      └── wraps data keys, one per key epoch, and the root secret        key ring, in the store
            ├── data key: seals subject records (AES-256-GCM, bound to project and index)
            └── root secret ── HKDF ── index key: HMAC(project | base | Patient/id) finds a record

Rotating the key-encryption key re-wraps the ring and starts a new data key; records sealed before
stay readable and are sealed anew when they are next saved, or at once by `reseal_all`.
"""

import hashlib
import hmac
import json
import secrets
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.errors import ConflictError, KeyRefusedError, VaultError
from privacy.pseudonyms import Pseudonyms, is_pseudonym

KEY, NONCE = 32, 12
FORMAT = b"\x01"
ROOT = "root"
LARGEST = 256 << 20


class VaultStore(Protocol):
    """What the vault needs of a database. Versions count from 1; `expected` 0 means: not there."""

    def load(self, index: str) -> tuple[bytes, int] | None: ...

    def save(self, index: str, sealed: bytes, expected: int) -> int:
        """Store if the version is still `expected`, else raise ConflictError; the new version."""
        ...

    def delete(self, index: str) -> bool: ...

    def indexes(self) -> Iterable[str]: ...

    def load_keys(self) -> Mapping[str, bytes]:
        """Wrapped keys by name, in the order in which they were added."""
        ...

    def replace_keys(self, keys: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
        """Put the whole ring in one transaction if it still is `expected`, else ConflictError."""
        ...


def check_key(key: bytes) -> None:
    """Refuse a key that is absent, short, an example, a text, or not random."""
    if not key:
        raise KeyRefusedError("there is no vault key: run `twinport keys init`")
    if len(key) != KEY:
        raise KeyRefusedError(f"the vault key must be {KEY} bytes: run `twinport keys init`")
    if all(0x20 <= byte < 0x7F for byte in key):
        raise KeyRefusedError("the vault key is a text: draw 32 random bytes instead")
    if len(set(key)) < 20 or key in EXAMPLES:
        raise KeyRefusedError("the vault key is not random: run `twinport keys init`")


# Keys that documentation, tests and tutorials use.
EXAMPLES = frozenset(
    {bytes(range(KEY)), bytes(range(1, KEY + 1)), bytes(range(KEY - 1, -1, -1))}
    | {
        hashlib.sha256(word).digest()
        for word in b" changeme default key password secret test twinport fhir-pseudonymizer".split(
            b" "
        )
    }
)


@dataclass(slots=True, repr=False)
class SubjectRecord:
    """All that links one patient to a twin. Lives sealed; has no printable form on purpose."""

    project: str
    base: str
    patient: str  # Patient/id, as the server at `base` knows it
    twin: str
    epoch: datetime
    ids: Pseudonyms
    identity: dict[str, Any]  # what write-back and re-identification show; chosen by the caller

    def to_bytes(self) -> bytes:
        table = {
            "project": self.project,
            "base": self.base,
            "patient": self.patient,
            "twin": self.twin,
            "epoch": self.epoch.isoformat(),
            "ids": self.ids.as_dict(),
            "identity": self.identity,
        }
        return zlib.compress(orjson.dumps(table), zlib.Z_BEST_SPEED)  # what it holds is random

    @staticmethod
    def from_bytes(data: bytes) -> "SubjectRecord":
        """Only ever called on bytes that were authenticated first."""
        try:
            table = json.loads(zlib.decompressobj().decompress(data, LARGEST))
        except (ValueError, zlib.error):  # whose own message would carry the content
            raise VaultError("a sealed record is not of this format") from None
        if not is_pseudonym(table["twin"]):
            raise VaultError("a sealed record names no twin")
        table["epoch"] = datetime.fromisoformat(table["epoch"])
        table["ids"] = Pseudonyms(table["ids"])
        return SubjectRecord(**table)


def seal(key: bytes, data: bytes, bound_to: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound_to)


def unseal(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], bound_to)
    except (InvalidTag, ValueError):
        raise VaultError("cannot be opened: another key, another place, or changed") from None


def header_of(name: str) -> bytes:
    """Which data key a record is sealed under: readable, and bound to the content."""
    return FORMAT + len(name).to_bytes(1, "big") + name.encode()


def derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY, salt=None, info=b"twinport " + purpose.encode()).derive(secret)


class Vault:
    """Opens and seals subject records through a store that cannot read them."""

    def __init__(self, store: VaultStore, key: bytes) -> None:
        check_key(key)
        self._store = store
        self._keys = self._open_ring(key)
        self._current = list(self._keys)[-1]
        self._index_key = derive(self._keys[ROOT], "vault index")

    def key_for(self, purpose: str) -> bytes:
        """A key for other sealed content. It stays the same when the vault's key is rotated."""
        return derive(self._keys[ROOT], purpose)

    # Records --------------------------------------------------------------------------------------

    def index(self, project: str, base: str, patient: str) -> str:
        """The keyed name of a record: says nothing without the root secret."""
        parts = [part.encode() for part in (project, base.rstrip("/"), patient)]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._index_key, message, hashlib.sha256).hexdigest()

    def load(self, project: str, base: str, patient: str) -> tuple[SubjectRecord, int] | None:
        return self.load_at(self.index(project, base, patient))

    def load_at(self, index: str) -> tuple[SubjectRecord, int] | None:
        found = self._store.load(index)
        return None if found is None else (self.open(index, found[0]), found[1])

    def save(self, record: SubjectRecord, expected: int) -> int:
        """Seal and store; ConflictError when another writer was faster: load again and retry."""
        index = self.index(record.project, record.base, record.patient)
        return self.put(index, self.seal(index, record), expected)

    def put(self, index: str, sealed: bytes, expected: int) -> int:
        """Store what `seal` has sealed for this index."""
        return self._store.save(index, sealed, expected)

    def delete(self, project: str, base: str, patient: str) -> bool:
        """Erasure: without its record a twin cannot be linked to anybody again."""
        return self._store.delete(self.index(project, base, patient))

    def seal(self, index: str, record: SubjectRecord) -> bytes:
        name = self._current
        header = header_of(name)
        bound = header + index.encode()
        return header + seal(self._keys[name], record.to_bytes(), bound)

    def open(self, index: str, sealed: bytes) -> SubjectRecord:
        size = 2 + sealed[1] if len(sealed) > 2 and sealed[:1] == FORMAT else 0
        name = sealed[2:size].decode("ascii", "replace")
        if name not in self._keys or name == ROOT:
            raise VaultError("sealed under a key that is not in the ring")
        bound = sealed[:size] + index.encode()
        return SubjectRecord.from_bytes(unseal(self._keys[name], sealed[size:], bound))

    def reseal_all(self) -> int:
        """Seal every record under the current data key; how many were changed."""
        changed = 0
        for index in list(self._store.indexes()):
            changed += self._reseal(index)
        return changed

    def _reseal(self, index: str) -> bool:
        found = self._store.load(index)
        if found is None or found[0].startswith(header_of(self._current)):
            return False
        sealed = self.seal(index, self.open(index, found[0]))
        try:
            self._store.save(index, sealed, found[1])
        except ConflictError:
            return False  # its writer has just sealed it under the current key
        return True

    # The key ring ---------------------------------------------------------------------------------

    def rotate(self, new_key: bytes) -> None:
        """Re-wrap the ring under a new key-encryption key and start a new key epoch."""
        check_key(new_key)
        fresh = {**self._keys, f"epoch-{len(self._keys)}": secrets.token_bytes(KEY)}
        self._store.replace_keys(wrap_all(new_key, fresh), expected=self._store.load_keys())
        self._keys, self._current = fresh, list(fresh)[-1]

    def _open_ring(self, key: bytes) -> dict[str, bytes]:
        wrapped = self._store.load_keys()
        if not wrapped:
            wrapped = self._new_ring(key)
        return {name: unseal(key, data, b"ring " + name.encode()) for name, data in wrapped.items()}

    def _new_ring(self, key: bytes) -> Mapping[str, bytes]:
        fresh = {ROOT: secrets.token_bytes(KEY), "epoch-1": secrets.token_bytes(KEY)}
        with suppress(ConflictError):  # another process made the ring first: that one is used
            self._store.replace_keys(wrap_all(key, fresh), expected={})
        return self._store.load_keys()

    def __repr__(self) -> str:
        return f"<Vault, key epoch {self._current}>"


def wrap_all(key: bytes, ring: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: seal(key, data, b"ring " + name.encode()) for name, data in ring.items()}
