"""Passphrases and receivers' keys: opened by other libraries, and bounded for strangers' files."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from joserfc.jwk import ECKey, OKPKey

from privacy.signing import b64, unb64
from service.portable import locked
from service.portable.errors import LockedError, PortableError

SECRET = "correct horse battery"
CONTENT = b'{"twin":{}}'
KIND = "application/json"


@pytest.fixture(scope="module")
def text() -> str:
    return locked.lock(CONTENT, SECRET, KIND)


def test_it_opens_with_its_passphrase_alone(text: str) -> None:
    opened = locked.unlock(text, SECRET)
    assert (opened.content, opened.content_type) == (CONTENT, KIND)
    with pytest.raises(LockedError, match="the passphrase does not open it"):
        locked.unlock(text, SECRET + ".")


def test_any_language_with_scrypt_and_aes_opens_it(text: str) -> None:
    """By the standard library's scrypt, as the documentation shows it."""
    head, _, iv, body, tag = text.split(".")
    kdf = json.loads(unb64(head))["kdf"]
    key = hashlib.scrypt(
        SECRET.encode(),
        salt=unb64(kdf["salt"]),
        n=kdf["n"],
        r=kdf["r"],
        p=kdf["p"],
        dklen=32,
        maxmem=256 << 20,
    )
    assert AESGCM(key).decrypt(unb64(iv), unb64(body) + unb64(tag), head.encode()) == CONTENT


def test_scrypt_is_scrypt() -> None:
    """RFC 7914, section 12, third vector, cut to 32 bytes."""
    found = Scrypt(salt=b"SodiumChloride", length=32, n=16384, r=8, p=1).derive(b"pleaseletmein")
    assert found.hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"


def test_the_work_is_what_is_recommended(text: str) -> None:
    kdf = json.loads(unb64(text.partition(".")[0]))["kdf"]
    assert (kdf["n"], kdf["r"], kdf["p"]) == (1 << 17, 8, 1)
    assert len(unb64(kdf["salt"])) == 16


def test_two_spellings_of_one_letter_are_one() -> None:
    text = locked.lock(CONTENT, "\u00e9l\u00e8ve d'Anjou", KIND)
    assert locked.unlock(text, "e\u0301le\u0300ve d'Anjou").content == CONTENT


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(PortableError, match="12 characters or more"):
        locked.lock(CONTENT, "hunter2", KIND)


def test_new_passphrases_cannot_be_guessed() -> None:
    made = {locked.new_passphrase() for _ in range(200)}
    assert len(made) == 200
    assert all(len(one) == 29 and one.count("-") == 4 for one in made)


def asking(**changes: Any) -> str:
    kdf = {"name": "scrypt", "n": 2048, "r": 8, "p": 1, "salt": b64(bytes(16))} | changes
    head = {"alg": "dir", "enc": "A256GCM", "kdf": kdf}
    return f"{b64(json.dumps(head).encode())}..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 1 << 30},
        {"n": 1000},
        {"n": 0},
        {"n": -2},
        {"n": True},
        {"n": 1e9},
        {"r": 1 << 20},
        {"p": 1 << 20},
        {"salt": "*"},
        {"salt": None},
        {"name": "argon2id"},
        {"n": None},
    ],
)
def test_a_file_cannot_ask_for_endless_work(changes: Mapping[str, Any]) -> None:
    with pytest.raises(PortableError):
        locked.unlock(asking(**changes), SECRET)


@pytest.mark.parametrize("curve", ["P-256", "X25519"])
def test_a_file_for_a_receiver_opens_with_their_key_alone(curve: str) -> None:
    kind = ECKey if curve == "P-256" else OKPKey
    key, other = kind.generate_key(curve), kind.generate_key(curve)
    text = locked.address(CONTENT, key.as_dict(private=False), KIND)
    opened = locked.open_addressed(text, key.as_dict(private=True))
    assert (opened.content, opened.content_type) == (CONTENT, KIND)
    with pytest.raises(LockedError):
        locked.open_addressed(text, other.as_dict(private=True))
    with pytest.raises(LockedError):
        locked.open_addressed(text[:-2] + "AA", key.as_dict(private=True))


@pytest.mark.parametrize("jwk", [{}, {"kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"crv": "P-256"}])
def test_a_key_that_cannot_be_used_is_refused(jwk: Mapping[str, Any]) -> None:
    with pytest.raises(PortableError):
        locked.address(CONTENT, jwk, KIND)


def test_it_says_which_way_it_is_locked(text: str) -> None:
    assert locked.needs_passphrase(text)
