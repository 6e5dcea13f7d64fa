"""Opening the vault with the ring, and the rotation of its key, safe to interrupt anywhere.

1. The key file gets the new key and keeps the old one beside it.
2. The wrapped ring in the database is wrapped anew, in one transaction.
3. Every record is sealed under the new data key.
4. The old key is destroyed.

Stopped after 1, the next opening does step 2; stopped after 2 or 3, rotating again finishes.
"""

from collections.abc import Callable
from pathlib import Path

from privacy.errors import ConflictError, VaultError
from privacy.vault import Vault, VaultStore
from service.keys.errors import KeyRefusedError
from service.keys.ring import KeyRing, Kind


def open_vault(store: VaultStore, ring: KeyRing) -> Vault:
    """The vault under the current key; a rotation that was cut short is finished on the way."""
    try:
        return Vault(store, ring.vault.material)
    except VaultError:
        pass
    for older in ring.vault_previous:
        try:
            vault = Vault(store, older.material)
        except VaultError:
            continue
        return _rewrapped(store, vault, ring)
    raise KeyRefusedError(
        "vault: neither the current nor a previous key opens this database. "
        "Next: restore the keys that belong to it from their backup"
    )


def rotate_vault(
    folder: Path, store: VaultStore, record: Callable[[str], None] | None = None
) -> int:
    """Renew the key kept in ``folder``; how many records were sealed anew."""
    KeyRing.rotate(folder, Kind.VAULT, record=record)
    return finish_rotation(KeyRing.load(folder), store)


def finish_rotation(ring: KeyRing, store: VaultStore) -> int:
    """Steps 2 to 4, also where the key comes from the environment and nothing is to destroy."""
    changed = open_vault(store, ring).reseal_all()
    if ring.vault_in_file:
        KeyRing.forget_previous_vault(ring.folder)
    return changed


def _rewrapped(store: VaultStore, vault: Vault, ring: KeyRing) -> Vault:
    try:
        vault.rotate(ring.vault.material)
    except ConflictError:  # another process was just doing the same
        return Vault(store, ring.vault.material)
    return vault
