"""Random secrets and what is stored of them."""

import base64
import hashlib
import hmac
import secrets

SECRET_BYTES = 32
# Crockford's base 32: no I, L, O, U, so a code can be read aloud and typed.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALIKE = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})
_CODE_LENGTH = 20  # 100 bits


def new_secret() -> str:
    return _b64u(secrets.token_bytes(SECRET_BYTES))


def new_code() -> str:
    """A one-time code in groups of five: ``ABCDE-FGHJK-MNPQR-STVWX``."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    return "-".join(letters[i : i + 5] for i in range(0, _CODE_LENGTH, 5))


def normal_code(text: str) -> str | None:
    """A code as typed by a person, or None where it cannot be one."""
    letters = text.strip().upper().translate(_ALIKE)
    fits = len(letters) == _CODE_LENGTH and all(letter in _ALPHABET for letter in letters)
    return letters if fits else None


def plain_hash(secret: str) -> bytes:
    """For 256-bit random secrets: nothing to guess, so no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8")).digest()


def keyed_hash(key: bytes, purpose: str, text: str) -> bytes:
    """A hash only this installation can compute; purposes never share values."""
    return hmac.digest(key, f"{purpose}\x00{text}".encode(), "sha256")


def name_for(key: bytes, purpose: str, text: str) -> str:
    """A stable pseudonym for something that must not be written down."""
    return _b64u(keyed_hash(key, purpose, text)[:12])


def same(left: bytes, right: bytes) -> bool:
    return hmac.compare_digest(left, right)


def _b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
