"""Zip archives: written the same way every time, and read as what a stranger may have built.

Nothing is unpacked to disk: members are read into memory, by name, within bounds that are counted
while reading and never taken from what the archive says of itself.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping

from service.portable.errors import PortableError

MEMBERS = 1000
LARGEST_FILE = 64 << 20
LARGEST_CONTENT = 200 << 20
LARGEST_RATIO = 200
_CHUNK = 1 << 16
_WHEN = (1980, 1, 1, 0, 0, 0)  # the zero of the format: the same content gives the same bytes
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED, _DESCRIBED_AFTER, _PATCHED = 0x1, 0x8, 0x20
_NO_GAP = frozenset({0})
_DESCRIPTORS = frozenset({12, 16, 20, 24})  # sizes after the content, of writers that stream
_DIRECTORY = (b"PK\x01\x02", b"PK\x05\x06")
_UNIX, _KIND, _REGULAR = 3, 0o170000, 0o100000

DAMAGED = "the archive is damaged"
BOMB = "the archive holds far more than its size can honestly give"
HIDDEN = "the archive's members overlap, or something is hidden in between"


def pack(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """Parts in the order given, each under its name, readable by its owner."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in parts:
            about = zipfile.ZipInfo(name, _WHEN)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = (_REGULAR | 0o600) << 16
            about.create_system = _UNIX
            archive.writestr(about, content)
    return out.getvalue()


def unpack(data: bytes) -> Mapping[str, bytes]:
    """All members by name. Raises `PortableError` at the first thing that no honest writer does."""
    if len(data) > LARGEST_FILE:
        raise PortableError(f"the archive is larger than {LARGEST_FILE >> 20} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
            _check_listing(listed, data)
            return _contents(archive, listed, len(data))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError):
        raise PortableError(DAMAGED) from None
    except (ValueError, RuntimeError, UnicodeDecodeError, OverflowError, MemoryError):
        raise PortableError(DAMAGED) from None


def _check_listing(listed: list[zipfile.ZipInfo], data: bytes) -> None:
    if len(listed) > MEMBERS:
        raise PortableError(f"the archive has more than {MEMBERS} members")
    names = [member.filename for member in listed]
    if len({name.casefold() for name in names}) != len(names):
        raise PortableError("the archive has two members of one name")
    for member in listed:
        _check_member(member)
    _check_places(listed, data)


def _check_member(member: zipfile.ZipInfo) -> None:
    if not _plain_name(member.orig_filename):
        raise PortableError("the archive has a member whose name leads out of it")
    if member.flag_bits & (_ENCRYPTED | _PATCHED) or member.compress_type not in _METHODS:
        raise PortableError("the archive is encrypted or compressed in a way that is not supported")
    kind = member.external_attr >> 16 & _KIND
    if member.is_dir() or (member.create_system == _UNIX and kind not in (0, _REGULAR)):
        raise PortableError("the archive holds something that is not a file")


def _plain_name(name: str) -> bool:
    """A relative path of ordinary characters, the same on every system."""
    parts = name.split("/")
    return (
        0 < len(name) <= 200
        and name.isascii()
        and name.isprintable()
        and not set('\\:*?"<>|') & set(name)
        and all(part.strip(". ") for part in parts)
    )


def _check_places(listed: list[zipfile.ZipInfo], data: bytes) -> None:
    """Members that share bytes are how a small archive becomes endless, and how two readers are
    shown two different contents."""
    end, gaps = 0, _NO_GAP
    for member in sorted(listed, key=lambda one: one.header_offset):
        start = member.header_offset
        if start - end not in gaps:
            raise PortableError(HIDDEN)
        name, extra = data[start + 26 : start + 28], data[start + 28 : start + 30]
        lengths = int.from_bytes(name, "little") + int.from_bytes(extra, "little")
        end = start + 30 + lengths + member.compress_size
        gaps = _DESCRIPTORS if member.flag_bits & _DESCRIBED_AFTER else _NO_GAP
    if not any(data[end + gap :].startswith(_DIRECTORY) for gap in gaps):
        raise PortableError(HIDDEN)


def _contents(
    archive: zipfile.ZipFile, listed: list[zipfile.ZipInfo], packed: int
) -> Mapping[str, bytes]:
    left = min(LARGEST_CONTENT, max(packed, _CHUNK) * LARGEST_RATIO)
    if sum(member.file_size for member in listed) > left:
        raise PortableError(BOMB)  # what it admits is believed; what it denies is counted below
    found: dict[str, bytes] = {}
    for member in listed:
        content = _content(archive, member, left)
        left -= len(content)
        found[member.filename] = content
    return found


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, left: int) -> bytes:
    kept = bytearray()
    with archive.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            kept += chunk
            if len(kept) > left:
                raise PortableError(BOMB)
    return bytes(kept)
