"""Files of a SMART Health Link: compact JWE, `dir` with A256GCM, deflated or not.

Written out here because the libraries for JOSE stop inflating at 250 KiB, and a bound has to be
ours. The cipher itself is `cryptography`'s.
"""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privacy.errors import SignatureError
from privacy.signing import b64, no_duplicates, unb64
from service.portable.errors import LockedError, PortableError

ALGORITHM, ENCRYPTION, DEFLATE = "dir", "A256GCM", "DEF"
KEY, IV, TAG = 32, 12, 16
LARGEST_HEADER = 4096
LARGEST = 64 << 20  # of the content, as of a twin's file

Header = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Opened:
    content: bytes
    content_type: str | None
    """As the header says; None where it says nothing: the manifest then speaks."""


def new_key() -> bytes:
    return os.urandom(KEY)


def seal(content: bytes, key: bytes, content_type: str, *, deflate: bool = True) -> str:
    """A fresh random IV each time: all versions of a link's files share one key."""
    header = {"alg": ALGORITHM, "enc": ENCRYPTION, "cty": content_type}
    if deflate:
        header["zip"] = DEFLATE
    return encrypt(content, key, header)


def encrypt(content: bytes, key: bytes, header: Header) -> str:
    protected = b64(json.dumps(header, separators=(",", ":")).encode())
    plain = _deflated(content) if header.get("zip") == DEFLATE else content
    iv = os.urandom(IV)
    sealed = AESGCM(key).encrypt(iv, plain, protected.encode())
    return ".".join((protected, "", b64(iv), b64(sealed[:-TAG]), b64(sealed[-TAG:])))


def unseal(text: str, key: bytes, largest: int = LARGEST) -> Opened:
    header = read_header(text)
    content_type = header.get("cty")
    content = decrypt(text, header, key, largest)
    return Opened(content, content_type if isinstance(content_type, str) else None)


def read_header(text: str) -> Header:
    """The protected header, if everything in it is something we do."""
    first = text.partition(".")[0]
    if len(first) > LARGEST_HEADER or text.count(".") != 4:
        raise PortableError("this is not an encrypted file: it does not have five parts")
    try:
        header = json.loads(unb64(first), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError, SignatureError):
        raise PortableError("the header of the encrypted file can't be read") from None
    if not isinstance(header, dict):
        raise PortableError("the header of the encrypted file can't be read")
    if header.get("alg") != ALGORITHM or header.get("enc") != ENCRYPTION or "crit" in header:
        raise PortableError("it is encrypted in a way that is not supported")
    if header.get("zip", DEFLATE) != DEFLATE:
        raise PortableError("it is compressed in a way that is not supported")
    return header


def decrypt(text: str, header: Header, key: bytes, largest: int = LARGEST) -> bytes:
    protected, wrapped, iv, sealed, tag = text.split(".")
    if wrapped or len(sealed) > 2 * largest:
        raise PortableError("the encrypted file is too large, or not of the expected form")
    try:
        parts = [unb64(part) for part in (iv, sealed, tag)]
    except SignatureError:
        raise PortableError("the encrypted file is damaged") from None
    if len(parts[0]) != IV or len(parts[2]) != TAG:
        raise PortableError("the encrypted file is damaged")
    try:
        plain = AESGCM(key).decrypt(parts[0], parts[1] + parts[2], protected.encode())
    except (InvalidTag, ValueError):
        raise LockedError("the key does not open it, or the file was changed") from None
    if header.get("zip") == DEFLATE:
        return _inflated(plain, largest)
    return _within(plain, largest)


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def _inflated(packed: bytes, largest: int) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(packed, largest + 1)
    except zlib.error:
        raise PortableError("what was encrypted is not compressed as it says") from None
    if not unpacker.eof and len(content) <= largest:
        raise PortableError("what was encrypted is not compressed as it says")
    return _within(content, largest)


def _within(content: bytes, largest: int) -> bytes:
    if len(content) > largest:
        raise PortableError(f"what was encrypted is larger than {largest >> 20} MiB")
    return content
