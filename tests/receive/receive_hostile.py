"""Hostile packages by rule. Where a rule needs a valid signature, it is one of an issuer who is
trusted and has turned bad: nothing but the reading itself stands between such a file and us."""

import base64
import hashlib
import io
import itertools
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from privacy.signing import SigningKey, b64, envelope
from service.portable import sphr

Parts = dict[str, bytes]
Named = Iterator[tuple[str, bytes]]

ESCAPES = (
    "../twin.json",
    "a/../../twin.json",
    "/etc/passwd",
    "//host/share",
    "C:\\windows\\x",
    "..\\twin.json",
    "a\\b",
    "./x",
    "a/./b",
    "a//b",
    " ",
    "...",
    "x\n",
    "x\x1b[2J",
    "con:",
    "a?b",
    "ü.json",
    "x" * 300,
    "~/../x",
    "a/",
)
NUMBERS = ("1e400", "-1e400", "NaN", "Infinity", "9" * 5000, "0." + "0" * 5000 + "1", "1E+99999")


def hostile(parts: Parts, bad: SigningKey) -> Named:
    """Every rule over one genuine package; `bad` is trusted where it is received."""
    for rule in (
        _archives,
        _names,
        _truncated,
        _swapped,
        _missing,
        _listed_wrongly,
        _forged,
        _documents,
        _other_things,
    ):
        yield from rule(parts, bad)


def packed(parts: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def signed(parts: Parts, key: SigningKey, change: Callable[[Any], Any] = lambda one: one) -> bytes:
    """The package listed and signed anew, as a trusted issuer could."""
    held = {name: content for name, content in parts.items() if "manifest." not in name}
    listed = json.loads(parts[sphr.MANIFEST])
    for row in listed["parts"]:
        content = held.get(row["path"], b"")
        row |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps(change(listed)).encode()
    signature = key.sign(text, {"typ": sphr.SIGNED_AS}).encode()
    return packed(held | {sphr.MANIFEST: text, sphr.SIGNATURE: signature})


# -- the archive ---------------------------------------------------------------------------------


def _archives(parts: Parts, _: SigningKey) -> Named:
    for megabytes in (100, 400):
        yield f"bomb of {megabytes} MB", packed(parts | {"ips.json": bytes(megabytes << 20)})
    yield "bomb of many", packed(parts | {f"m{n}.json": bytes(1 << 20) for n in range(250)})
    yield "too many members", packed(parts | {f"m{n}.json": b"" for n in range(1001)})
    yield "bomb in a bomb", packed(parts | {"twin.json": packed({"x": bytes(64 << 20)})})
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"method {method}", packed(parts, method)
    yield "members that overlap", _overlapping(packed(parts))
    yield "encrypted flag", _flagged(packed(parts), 1)
    yield "patched flag", _flagged(packed(parts), 0x20)
    for kind, bits in (("link", 0o120777), ("device", 0o060666), ("pipe", 0o010666)):
        yield f"a {kind}", _of_kind(parts, bits)
    for junk in (b"MZ\x90\x00", b"#!/bin/sh\n"):
        yield "something before", b"PK\x03\x04" + junk + packed(parts)
    yield "the same twice", _twice(parts)
    yield "the same in capitals", packed(parts | {"TWIN.JSON": parts["twin.json"]})


def _flagged(data: bytes, flag: int) -> bytes:
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + struct.pack("<H", flag) + data[at + 2 :]


def _overlapping(data: bytes) -> bytes:
    """The second entry of the directory points at the first member's content."""
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4) + 42
    return data[:second] + struct.pack("<I", 0) + data[second + 4 :]


def _of_kind(parts: Parts, bits: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            about = zipfile.ZipInfo(name)
            about.create_system = 3
            about.external_attr = (bits if name == "ips.json" else 0o100600) << 16
            archive.writestr(about, content)
    return out.getvalue()


def _twice(parts: Parts) -> bytes:
    return packed(parts | {"twin.jsonX": b"{}"}).replace(b"twin.jsonX", b"twin.json\x00")


def _names(parts: Parts, _: SigningKey) -> Named:
    for name in ESCAPES:
        yield f"named {name[:20]!r}", packed(parts | {name: b"x"})


def _truncated(parts: Parts, _: SigningKey) -> Named:
    data, dice = packed(parts), random.Random(7)
    for _n in range(20):
        yield "cut", data[: dice.randrange(4, len(data) - 1)]
    for _n in range(20):
        at = dice.randrange(60, len(data) - 600)
        yield "a hole", data[:at] + bytes(500) + data[at + 500 :]


# -- the parts -----------------------------------------------------------------------------------


def _swapped(parts: Parts, _: SigningKey) -> Named:
    for one, other in itertools.combinations(sorted(parts), 2):
        yield f"{one} for {other}", packed(parts | {one: parts[other], other: parts[one]})


def _missing(parts: Parts, _: SigningKey) -> Named:
    for name in sorted(parts):
        yield f"without {name}", packed({n: c for n, c in parts.items() if n != name})
    yield "one more", packed(parts | {"more.json": b"{}"})
    yield "nothing at all", packed({})


def _listed_wrongly(parts: Parts, bad: SigningKey) -> Named:
    """Listed and signed by somebody who is trusted, but not true."""

    def everywhere(field: str, value: Any) -> Callable[[Any], Any]:
        return lambda listed: listed | {"parts": [row | {field: value} for row in listed["parts"]]}

    for field, value in (
        ("media_type", "text/html"),
        ("media_type", 7),
        ("size", -1),
        ("size", 1 << 70),
        ("size", "12"),
        ("sha256", "0" * 64),
        ("sha256", None),
        ("path", "twin.json"),
        ("path", "../twin.json"),
        ("path", None),
        ("more", 1),
    ):
        yield f"all {field} {value!r:.20}", signed(parts, bad, everywhere(field, value))
    for row in json.loads(parts[sphr.MANIFEST])["parts"]:
        path = row["path"]

        def one(listed: Any, path: str = path) -> Any:
            for each in listed["parts"]:
                if each["path"] == path:
                    each["media_type"] = "application/pdf"
            return listed

        yield f"{path} as a PDF", signed(parts, bad, one)
    changes: dict[str, Callable[[Any], Any]] = {
        "of another format": lambda listed: listed | {"format": "twinport-sphr/9"},
        "of another twin": lambda listed: listed | {"twin": "A" * 22},
        "of another version": lambda listed: listed | {"version": 99},
        "that lists itself": lambda listed: (
            listed | {"parts": [*listed["parts"], listed["parts"][0] | {"path": sphr.MANIFEST}]}
        ),
        "that is a list": lambda listed: [listed],
        "of nothing": lambda listed: listed | {"parts": []},
        "of parts that are none": lambda listed: listed | {"parts": {"a": 1}},
    }
    for name, change in changes.items():
        yield f"a list {name}", signed(parts, bad, change)
    yield "genuine twin of another issuer, listed anew", signed(parts, bad)


# -- signatures ----------------------------------------------------------------------------------


def _forged(parts: Parts, bad: SigningKey) -> Named:
    listed, genuine = parts[sphr.MANIFEST], parts[sphr.SIGNATURE].decode()
    stranger = SigningKey.generate()
    first, _, last = genuine.split(".")
    headers: dict[str, Any] = {
        "alg none": {"alg": "none"},
        "alg HS256": {"alg": "HS256"},
        "alg ES256": {"alg": "ES256"},
        "no kid": {"kid": None},
        "kid of another": {"kid": stranger.kid},
        "kid a path": {"kid": "../../keys"},
        "own key inside": {"jwk": stranger.public_jwk(), "kid": stranger.kid},
        "b64 true": {"b64": True},
        "no crit": {"crit": []},
        "unknown crit": {"crit": ["b64", "exp"]},
    }
    given = json.loads(base64.urlsafe_b64decode(first + "=="))
    for name, change in headers.items():
        text = b64(json.dumps(given | change).encode())
        yield name, packed(parts | {sphr.SIGNATURE: f"{text}..{last}".encode()})
    twice = b64(b'{"alg":"Ed25519","alg":"none"}')
    yield (
        "header twice",
        packed(parts | {sphr.SIGNATURE: f"{twice}..{last}".encode()}),
    )
    yield "deep header", packed(parts | {sphr.SIGNATURE: f"{b64(b'[' * 3000)}..{last}".encode()})
    yield "long header", packed(parts | {sphr.SIGNATURE: f"{'A' * 9000}..{last}".encode()})
    yield "payload inside", packed(parts | {sphr.SIGNATURE: f"{first}.AAAA.{last}".encode()})
    yield "not ASCII", packed(parts | {sphr.SIGNATURE: "ü..ü".encode()})
    yield "empty", packed(parts | {sphr.SIGNATURE: b""})
    yield "by a stranger", signed(parts, stranger)
    typed = {"typ": "something else"}
    yield (
        "made for something else",
        packed(parts | {sphr.SIGNATURE: bad.sign(listed, typed).encode()}),
    )
    yield (
        "a twin's signature for the list",
        packed(parts | {sphr.SIGNATURE: json.loads(parts["twin.json"])["proof"]["jws"].encode()}),
    )


# -- documents -----------------------------------------------------------------------------------


def _documents(parts: Parts, bad: SigningKey) -> Named:
    """A twin of a trusted issuer that is no twin, alone and in a package."""
    text = json.dumps(json.loads(parts["twin.json"])["twin"], separators=(",", ":"))
    changes = {f"number {n:.12}": text.replace('"now":', f'"now":{n},"x":', 1) for n in NUMBERS}
    changes |= {f"value {n:.12}": text.replace('"v":[', f'"v":[{n},', 1) for n in NUMBERS}
    changes |= {
        "a name twice": text.replace('{"twin":', '{"twin":{},"twin":', 1),
        "deep": text.replace('"assessments":[', f'"assessments":[{"[" * 20_000}', 1),
        "deep and closed": text.replace(
            '"assessments":[', f'"assessments":[{"[" * 20_000}{"]" * 20_000},', 1
        ),
        "free text": text.replace('"sex":"female"', '"sex":"Zorkmidt, called Z."', 1),
        "another schema": text.replace('"schema":1', '"schema":99', 1),
        "another identity": text.replace('"identity":"pseudonymous"', '"identity":"named"', 1),
        "a version that is none": text.replace('"version":1,', '"version":0,', 1),
        "a source outside": text.replace('"src":[', '"src":[4096,', 1),
        "half a letter": text.replace('"sex":"female"', '"sex":"\\ud800"', 1),
        "a list": "[]",
        "nothing": "{}",
        "long": text.replace('"t":[', '"t":[' + "0," * 500_000, 1),
    }
    for name, changed in changes.items():
        assert changed != text, name
        try:
            file = envelope(changed.encode(), {"jws": bad.sign(changed.encode())})
        except Exception:  # noqa: BLE001 - not even an envelope: then as bytes
            file = b'{"twin":' + changed.encode() + b',"proof":{"jws":""}}'
        yield f"document: {name}", file
        yield f"package, document: {name}", signed(parts | {"twin.json": file}, bad)


def _other_things(parts: Parts, _: SigningKey) -> Named:
    yield "empty", b""
    yield "a PDF", b"%PDF-1.7\n" + bytes(2000)
    yield "a gzip", b"\x1f\x8b\x08" + bytes(2000)
    yield "too large", b'{"twin":' + b" " * (65 << 20)
    yield "too large a package", b"PK\x03\x04" + bytes(65 << 20)
    yield "an envelope twice", parts["twin.json"] * 2
    yield "indented", json.dumps(json.loads(parts["twin.json"]), indent=1).encode()
    yield "a package as a twin", b'{"twin":' + packed(parts) + b',"proof":{"jws":"a"}}'
    yield "random", random.Random(3).randbytes(100_000)
