"""De-identification without its database: a Bundle in, the de-identified one out; lines likewise.

Each call is a first one, for a vault that forgets: ways back are drawn, sealed and dropped.
"""

import secrets
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from privacy.policy import load_policy
from privacy.pseudonyms import new_pseudonym
from privacy.vault import Vault
from service.deidentify.batch import Batch
from service.deidentify.files import Inputs, bundle_of, people_of, write
from service.deidentify.people import People
from service.deidentify.reading import Reading


class _Forgetful:
    """A store of sealed records that are never looked for again. It keeps its keys."""

    def __init__(self) -> None:
        self._keys: Mapping[str, bytes] = {}

    def load(self, index: str) -> tuple[bytes, int] | None:
        return None

    def save(self, index: str, sealed: bytes, expected: int) -> int:
        return expected + 1

    def delete(self, index: str) -> bool:
        return False

    def indexes(self) -> Iterable[str]:
        return ()

    def load_keys(self) -> Mapping[str, bytes]:
        return self._keys

    def replace_keys(self, keys: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
        self._keys = keys


def forgetful_vault() -> Vault:
    return Vault(_Forgetful(), secrets.token_bytes(32))


def deidentified(vault: Vault, file: bytes, policy: str, day: date) -> bytes:
    """What the operation does with the body of one request, but for writing its record down."""
    reading = Reading(file)
    resources = reading.resources()
    people = People(new_pseudonym(), strangers="caller:bench")
    people.read_all(resources, reading.identifying)
    batch = Batch(
        load_policy(policy), vault, people, project="bench", today=day, keep_open=len(resources)
    )
    with batch:
        made = batch.apply(resources, bundled=True)
        batch.close()
        return orjson.dumps(bundle_of(made))


def deidentified_lines(vault: Vault, file: Path, policy: str, day: date) -> None:
    """What `twinport deidentify` does with a file of lines, but for writing its record down."""
    inputs = Inputs.of(file)
    people = people_of(inputs, new_pseudonym())
    with (
        TemporaryDirectory() as folder,
        Batch(load_policy(policy), vault, people, project="bench", today=day) as batch,
    ):
        write(inputs, batch, Path(folder), record=lambda outputs: None)
        batch.close()
