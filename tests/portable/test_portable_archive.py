"""Archives of strangers: what no honest writer does is refused, in bounded time and memory."""

import contextlib
import io
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples

from service.portable import archive
from service.portable.errors import PortableError

PARTS = {"twin.json": b'{"twin":1}', "models/one.json": b"{}" * 500}


def test_the_same_parts_give_the_same_bytes_and_come_back() -> None:
    data = archive.pack(PARTS.items())
    assert data == archive.pack(PARTS.items())
    assert archive.unpack(data) == PARTS


def test_ordinary_tools_open_it() -> None:
    with zipfile.ZipFile(io.BytesIO(archive.pack(PARTS.items()))) as found:
        assert found.testzip() is None
        assert {i.filename: found.read(i) for i in found.infolist()} == PARTS
        assert {stat.S_IMODE(i.external_attr >> 16) for i in found.infolist()} == {0o600}


def test_a_writer_that_streams_is_read_too() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, chunk: bytes) -> int:  # type: ignore[override]
            self.data += chunk
            return len(chunk)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as out:  # type: ignore[call-overload]
        for name, content in PARTS.items():
            out.writestr(name, content)
    assert archive.unpack(bytes(pipe.data)) == PARTS


def zipped(*names: str, content: bytes = b"x", **about: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            for attribute, value in about.items():
                setattr(member, attribute, value)
            made.writestr(member, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/x",
        "a/../x",
        "C:x",
        "a\\b",
        "a//b",
        "./x",
        "a/.",
        " ",
        "a\x00b",
        "é",
        "x" * 300,
        "a|b",
    ],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    data = zipped("abcdefgh").replace(b"abcdefgh", b"abcdefgh")
    with pytest.raises(PortableError, match=r"name leads out of it|damaged"):
        archive.unpack(
            zipped(name) if "\x00" not in name else data.replace(b"abcdefgh", b"abc\x00efgh")
        )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "damaged"),
        (b"PK\x03\x04" + bytes(100), "damaged"),
        (zipped("a", "A"), "two members of one name"),
        (zipped(*(f"n{i}" for i in range(1001))), "more than 1000 members"),
        (zipped("a", content=bytes(30 << 20)), "far more than its size"),
        (zipped("a/"), "not a file|leads out"),
        (zipped("link", external_attr=(stat.S_IFLNK | 0o777) << 16, create_system=3), "not a file"),
        (b"MZ" + zipped("a"), "hidden|damaged"),
        (archive.pack(PARTS.items())[:-30], "damaged"),
    ],
)
def test_what_no_honest_writer_does(data: bytes, sentence: str) -> None:
    with pytest.raises(PortableError, match=sentence) as told:
        archive.unpack(data)
    assert "\n" not in str(told.value)


def test_an_encrypted_member_is_refused() -> None:
    data = bytearray(zipped("a"))
    directory = data.index(b"PK\x01\x02")
    for place in (6, directory + 8):
        struct.pack_into("<H", data, place, 1)
    with pytest.raises(PortableError, match="encrypted"):
        archive.unpack(bytes(data))


def test_members_that_share_bytes_are_refused() -> None:
    """The whole of one member listed twice, as endless archives do."""
    data = bytearray(zipped("a", "b", content=bytes(1000)))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    with pytest.raises(PortableError):
        archive.unpack(bytes(data))


def test_a_size_that_lies_is_counted_and_not_believed() -> None:
    data = bytearray(zipped("a", content=bytes(5 << 20)))
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, 10)
    with pytest.raises(PortableError):
        archive.unpack(bytes(data))


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    with pytest.raises(PortableError):
        archive.unpack(data)


@settings(max_examples=examples(300))
@given(st.data())
def test_a_changed_byte_never_raises_anything_else(data: st.DataObject) -> None:
    good = archive.pack(PARTS.items())
    place = data.draw(st.integers(0, len(good) - 1))
    value = data.draw(st.integers(0, 255))
    with contextlib.suppress(PortableError):
        archive.unpack(good[:place] + bytes([value]) + good[place + 1 :])
