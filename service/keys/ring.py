"""The ring: vault keys, signing keys and the session secret of one installation."""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from privacy import errors as privacy_errors
from privacy import signing
from privacy.vault import check_key
from service.keys import files
from service.keys.errors import KeyRefusedError

KEY_BYTES = 32
_VAULT, _SIGNING, _SESSION = "vault.json", "signing.json", "session.json"


class Kind(StrEnum):
    """What can be rotated."""

    VAULT = "vault"
    SIGNING = "signing"
    SESSION = "session"


@dataclass(frozen=True)
class SecretKey:
    """32 secret bytes and a name for them. The name says nothing about the bytes."""

    id: str
    material: bytes = field(repr=False)
    created: str = ""


@dataclass(frozen=True)
class SigningKey:
    """The Ed25519 key that signs now; ``kid`` is the RFC 7638 thumbprint of its public half."""

    kid: str
    private: Ed25519PrivateKey = field(repr=False)
    created: str

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def signer(self) -> signing.SigningKey:
        return signing.SigningKey(self.private.private_bytes_raw())


@dataclass(frozen=True)
class RetiredKey:
    """The public half of a key that signed once. Its private half no longer exists."""

    kid: str
    public: bytes
    created: str
    retired: str


@dataclass(frozen=True)
class KeyRing:
    """All keys, loaded and checked."""

    folder: Path
    vault: SecretKey
    vault_previous: tuple[SecretKey, ...]
    signing: SigningKey
    signing_retired: tuple[RetiredKey, ...]
    session: SecretKey
    created_now: bool = False

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        vault_key: str = "",
        vault_key_previous: str = "",
        clock: "Clock | None" = None,
    ) -> "KeyRing":
        """Load the ring, making what is missing first. ``created_now`` says whether it did."""
        made = cls.init(folder, vault_key=vault_key, clock=clock)
        return cls._load(folder, vault_key, vault_key_previous, created_now=bool(made))

    @classmethod
    def load(cls, folder: Path, *, vault_key: str = "", vault_key_previous: str = "") -> "KeyRing":
        """Load the ring; nothing is created."""
        return cls._load(folder, vault_key, vault_key_previous, created_now=False)

    @staticmethod
    def init(
        folder: Path, *, vault_key: str = "", clock: "Clock | None" = None
    ) -> tuple[Kind, ...]:
        """Make the keys that do not exist yet; those that do are left alone."""
        files.prepare_folder(folder)
        now = _stamp(clock)
        made = []
        if not vault_key and files.create(folder / _VAULT, _dump(_new_secrets(now))):
            made.append(Kind.VAULT)
        if files.create(folder / _SIGNING, _dump(_new_signing(now))):
            made.append(Kind.SIGNING)
        if files.create(folder / _SESSION, _dump(_new_secrets(now))):
            made.append(Kind.SESSION)
        return tuple(made)

    @staticmethod
    def rotate(
        folder: Path,
        kind: Kind,
        *,
        clock: "Clock | None" = None,
        record: "Callable[[str], None] | None" = None,
    ) -> None:
        """Renew one kind. The vault's old key stays until ``forget_previous_vault``.

        ``record`` is told the name of the new key before it takes the old one's place: a change
        that cannot be recorded does not happen.
        """
        files.check_folder(folder)
        # Two rotations at once would each know one new key only, and the other would be lost.
        with files.locked(folder):
            path, renewed, name = _renewed(folder, kind, _stamp(clock))
            if record is not None:
                record(name)
            files.replace(path, _dump(renewed))

    @staticmethod
    def forget_previous_vault(folder: Path) -> int:
        """Destroy the vault's old keys, once nothing is wrapped under them any more."""
        path = folder / _VAULT
        with files.locked(folder):
            stored = _parse(path)
            files.replace(path, _dump({**stored, "previous": []}))
        return len(stored["previous"])

    @classmethod
    def _load(
        cls, folder: Path, vault_key: str, vault_key_previous: str, *, created_now: bool
    ) -> "KeyRing":
        files.check_folder(folder)
        current, previous = _vault_keys(folder, vault_key, vault_key_previous)
        now, retired = _signing_keys(folder / _SIGNING)
        session = _secret_keys(folder / _SESSION)[0]
        return cls(folder, current, previous, now, retired, session, created_now)

    @property
    def vault_in_file(self) -> bool:
        """Whether the vault key is kept here at all, or comes from the environment alone."""
        return (self.folder / _VAULT).exists()

    # -- public halves -------------------------------------------------------------------------

    def public_keys(self) -> dict[str, bytes]:
        """Every key that ever signed here: kid to the 32 raw bytes of its public half."""
        retired = {key.kid: key.public for key in self.signing_retired}
        return {self.signing.kid: self.signing.public, **retired}

    def jwks(self) -> dict[str, Any]:
        """The public halves as a JWK set, current first. Private members cannot be in it.

        Each says since when it signs (`iat`), a retired one until when it did (`exp`).
        """
        current = {**_published(self.signing.public), "iat": _seconds(self.signing.created)}
        return {"keys": [current, *map(_history, self.signing_retired)]}


Clock = Callable[[], datetime]


def _history(key: RetiredKey) -> dict[str, Any]:
    ends = {"iat": _seconds(key.created), "exp": _seconds(key.retired)}
    return {**_published(key.public), **ends}


def _published(raw: bytes) -> dict[str, str]:
    return signing.public_jwk(signing.b64(raw))


def _seconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp())


def thumbprint(raw: bytes) -> str:
    return signing.public_jwk(signing.b64(raw))["kid"]


def check_material(material: bytes, where: str) -> bytes:
    """Refuse keys that are short, known from examples, or that nobody drew at random."""
    try:
        check_key(material)
    except privacy_errors.KeyRefusedError as error:
        raise KeyRefusedError(f"{where}: {error}") from None
    return material


# -- rotation ----------------------------------------------------------------------------------


def _renewed(folder: Path, kind: Kind, now: str) -> tuple[Path, dict[str, Any], str]:
    """The file, its new content, and the name of the new key."""
    if kind is Kind.SIGNING:
        path = folder / _SIGNING
        signing_keys = _next_signing(_parse(path), now)
        return path, signing_keys, _kid_of(signing_keys["current"])
    path = folder / (_VAULT if kind is Kind.VAULT else _SESSION)
    if not path.exists():
        raise KeyRefusedError(
            f"{path}: the key is not kept here. Next: put the new key into TWINPORT_VAULT_KEY "
            "and the old one into TWINPORT_VAULT_KEY_PREVIOUS"
        )
    renewed = _next_secret(_parse(path), now, keep=kind is Kind.VAULT)
    return path, renewed, renewed["current"]["id"]


def _kid_of(stored: Mapping[str, str]) -> str:
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(stored["key"]))
    return thumbprint(private.public_key().public_bytes_raw())


# -- the vault key ---------------------------------------------------------------------------


def _vault_keys(
    folder: Path, given: str, given_previous: str
) -> tuple[SecretKey, tuple[SecretKey, ...]]:
    path = folder / _VAULT
    previous = (_from_environment(given_previous),) if given_previous else ()
    if not given:
        current, kept = _secret_keys(path)
        return current, kept + previous
    current = _from_environment(given)
    # A key file from before the environment took over still opens what it sealed.
    older = previous + (_all_secret_keys(path) if path.exists() else ())
    return current, tuple(key for key in older if key.id != current.id)


def _all_secret_keys(path: Path) -> tuple[SecretKey, ...]:
    current, previous = _secret_keys(path)
    return (current, *previous)


def _from_environment(text: str) -> SecretKey:
    where = "TWINPORT_VAULT_KEY"
    try:
        material = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyRefusedError(f"{where}: is not base64") from error
    return SecretKey(_name_of(check_material(material, where)), material)


def _name_of(material: bytes) -> str:
    """A stable name for a key that came without one; one-way, of 256 random bits."""
    return hashlib.sha256(b"twinport vault key name\x00" + material).hexdigest()[:16]


# -- what is in the files --------------------------------------------------------------------


def _secret_keys(path: Path) -> tuple[SecretKey, tuple[SecretKey, ...]]:
    stored = _parse(path)
    try:
        current = _secret(stored["current"], path)
        return current, tuple(_secret(item, path) for item in stored["previous"])
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise _damaged(path) from error


def _secret(stored: Mapping[str, str], path: Path) -> SecretKey:
    material = base64.b64decode(stored["key"], validate=True)
    return SecretKey(stored["id"], check_material(material, str(path)), stored["created"])


def _signing_keys(path: Path) -> tuple[SigningKey, tuple[RetiredKey, ...]]:
    stored = _parse(path)
    try:
        now = stored["current"]
        seed = check_material(base64.b64decode(now["key"], validate=True), str(path))
        private = Ed25519PrivateKey.from_private_bytes(seed)
        kid = thumbprint(private.public_key().public_bytes_raw())
        return SigningKey(kid, private, now["created"]), tuple(map(_retired, stored["retired"]))
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise _damaged(path) from error


def _retired(stored: Mapping[str, str]) -> RetiredKey:
    raw = base64.b64decode(stored["public"], validate=True)
    Ed25519PublicKey.from_public_bytes(raw)
    return RetiredKey(thumbprint(raw), raw, stored["created"], stored["retired"])


def _new_secrets(now: str) -> dict[str, Any]:
    return {"current": _new_secret(now), "previous": []}


def _new_secret(now: str) -> dict[str, str]:
    material = secrets.token_bytes(KEY_BYTES)
    return {"id": _name_of(material), "key": _b64(material), "created": now}


def _next_secret(stored: Mapping[str, Any], now: str, *, keep: bool) -> dict[str, Any]:
    older = [stored["current"], *stored["previous"]] if keep else []
    return {"current": _new_secret(now), "previous": older}


def _new_signing(now: str) -> dict[str, Any]:
    seed = secrets.token_bytes(KEY_BYTES)
    return {"current": {"key": _b64(seed), "created": now}, "retired": []}


def _next_signing(stored: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The old private half is gone with this; its public half stays for the life of documents."""
    old = stored["current"]
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(old["key"]))
    public = _b64(private.public_key().public_bytes_raw())
    kept = {"public": public, "created": old["created"], "retired": now}
    return {**_new_signing(now), "retired": [kept, *stored["retired"]]}


def _parse(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(files.read(path))
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(stored, dict):
        raise _damaged(path)
    return stored


def _damaged(path: Path) -> KeyRefusedError:
    return KeyRefusedError(f"{path}: is damaged. Next: restore it from the backup of the keys")


def _dump(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode("ascii") + b"\n"


def _stamp(clock: Clock | None) -> str:
    now = clock() if clock else datetime.now(UTC)
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
