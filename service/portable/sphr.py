"""The `.sphr` package: a twin with everything that is needed to read, check and recompute it.

A plain zip. `manifest.json` lists every other part with its SHA-256; `manifest.jws` is the
issuer's detached signature over exactly those bytes. Nothing may be in the package that is not in
the list, so that nothing can be added, removed or exchanged unseen.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import orjson

from mappings.to_fhir.phr import Beside, phr_lines
from mappings.to_fhir.twin_bundle import ips_bundle
from privacy import ledger
from privacy.errors import PrivacyError, SignatureError
from privacy.signing import (
    SigningKey,
    VerificationKeys,
    no_duplicates,
    open_envelope,
    read_header,
    verify,
)
from service.portable import archive
from service.portable.errors import PortableError
from twin_engine.document import MEDIA_TYPE as TWIN_TYPE
from twin_engine.document import DocumentError, Twin, read
from twin_engine.models.canonical import digest

FORMAT = "twinport-sphr/1"
MEDIA_TYPE = "application/zip"
SIGNED_AS = "twinport-sphr+jws"
MANIFEST, SIGNATURE = "manifest.json", "manifest.jws"
TWIN, RECORD, IPS, LEDGER, KEYS, README = (
    "twin.json",
    "record.phr",
    "ips.json",
    "ledger.jsonl",
    "keys.json",
    "README.txt",
)
LARGEST_MANIFEST = 1 << 20
MADE = frozenset({"twin-made", "twin-extended"})  # entries that say how a document came to be
_TYPES = {
    TWIN: TWIN_TYPE,
    RECORD: "application/fhir+ndjson",
    IPS: "application/fhir+json",
    LEDGER: "application/x-ndjson",
    KEYS: "application/jwk-set+json",
    README: "text/plain; charset=utf-8",
}
_CARD_TYPE = "application/json"

Cards = Mapping[str, Mapping[str, Any]]
Json = dict[str, Any]


class Part(NamedTuple):
    path: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose every part is what its issuer listed."""

    kid: str
    """Whose signature stands under the list."""
    twin: Twin
    twin_file: bytes
    parts: Mapping[str, bytes]


# -- making --------------------------------------------------------------------------------------


def build(
    twin_file: bytes,
    cards: Cards,
    ledger_lines: Iterable[bytes],
    key_set: Mapping[str, Any],
    signer: SigningKey,
) -> bytes:
    """`twin_file` as it was signed; `cards` by model id, those of its assessments are put in;
    `ledger_lines`: the entries about this twin. The same input gives the same bytes."""
    document = read(open_envelope(twin_file)[0]).document
    about = _cards_of(document, cards)
    files = [
        Beside(TWIN, TWIN_TYPE, "The signed twin", twin_file),
        Beside(IPS, _TYPES[IPS], "Patient summary", _spelled(ips_bundle(document, cards))),
        *(_card(model, card) for model, card in sorted(about.items())),
        Beside(LEDGER, _TYPES[LEDGER], "How identity was taken out", _lines(ledger_lines)),
        Beside(KEYS, _TYPES[KEYS], "The issuer's public keys", _spelled(key_set)),
        Beside(README, _TYPES[README], "How to read and check this package", _readme()),
    ]
    record = _lines(orjson.dumps(line) for line in phr_lines(document, cards, files))
    parts = {RECORD: record} | {file.path: file.content for file in files}
    listed = _manifest(document, parts)
    signature = signer.sign(listed, {"typ": SIGNED_AS}).encode()
    return archive.pack([*parts.items(), (MANIFEST, listed), (SIGNATURE, signature)])


def _cards_of(document: Mapping[str, Any], cards: Cards) -> Cards:
    """Those that the answers were made under. A card that changed since then is another one."""
    named = {one["model"]["id"]: one["model"]["card"] for one in document["assessments"]}
    return {m: cards[m] for m, card in named.items() if m in cards and digest(cards[m]) == card}


def _card(model: str, card: Mapping[str, Any]) -> Beside:
    title = f"Model card: {card['title']}, version {card['version']}"
    return Beside(f"models/{model}.json", _CARD_TYPE, title, _spelled(card))


def _manifest(document: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    rows = [
        Part(path, media_type(path), len(content), _sha256(content))._asdict()
        for path, content in sorted(parts.items())
    ]
    head = document["twin"]
    about = {"format": FORMAT, "twin": head["id"], "version": head["version"], "parts": rows}
    return ledger.canonical(about)


def media_type(path: str) -> str:
    return _TYPES.get(path, _CARD_TYPE)


def _readme() -> bytes:
    return resources.files("service.portable").joinpath("package.txt").read_bytes()


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _spelled(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- opening -------------------------------------------------------------------------------------


def open_package(data: bytes, keys: VerificationKeys) -> Package:
    """Verified against the keys of an issuer that the caller trusts, part by part.

    The keys that travel inside are for other tools; they are never what is trusted.
    """
    parts = dict(archive.unpack(data))
    listed, signature = _signed_list(parts)
    try:
        verified = verify(signature, listed, keys)
    except SignatureError as error:
        raise PortableError(f"the list of parts is not verified: {error}") from None
    if verified.header.get("typ") != SIGNED_AS:
        raise PortableError("the signature was made for something else than a package")
    about = _read_list(listed)
    _compare(about["parts"], parts)
    twin = _twin(parts, keys)
    if (twin.id, twin.version) != (about["twin"], about["version"]):
        raise PortableError("the package holds another twin than its list says")
    _check_cards(twin, parts)
    _check_ledger(twin, parts, keys)
    return Package(verified.kid, twin, parts[TWIN], parts)


def is_package(data: bytes) -> bool:
    return data.startswith(b"PK\x03\x04")


def _signed_list(parts: dict[str, bytes]) -> tuple[bytes, str]:
    if MANIFEST not in parts or SIGNATURE not in parts or TWIN not in parts:
        raise PortableError(
            "this is not a package of a twin: its list, signature or twin is missing"
        )
    listed, signature = parts.pop(MANIFEST), parts.pop(SIGNATURE)
    if len(listed) > LARGEST_MANIFEST or not signature.isascii():
        raise PortableError("the list of parts can't be read")
    return listed, signature.decode()


def _read_list(listed: bytes) -> Json:
    try:
        about = json.loads(listed, object_pairs_hook=no_duplicates)
        sound = about["format"] == FORMAT and isinstance(about["parts"], list)
        rows = [Part(**row) for row in about["parts"]] if sound else []
    except (ValueError, TypeError, LookupError, RecursionError, SignatureError):
        raise PortableError("the list of parts can't be read") from None
    if not sound:
        raise PortableError(f"the package is of another format than {FORMAT}")
    return {"twin": about.get("twin"), "version": about.get("version"), "parts": rows}


def _compare(listed: Sequence[Part], parts: Mapping[str, bytes]) -> None:
    if sorted(str(part.path) for part in listed) != sorted(parts):
        raise PortableError("a part is missing, or one is there that its issuer did not list")
    for part in listed:
        content = parts[part.path]
        if _sha256(content) != part.sha256 or len(content) != part.size:
            raise PortableError(f"{part.path} is not what its issuer listed: it was changed")
        if part.media_type != media_type(part.path):
            raise PortableError(f"{part.path} is listed as something it can't be")


def _twin(parts: Mapping[str, bytes], keys: VerificationKeys) -> Twin:
    try:
        payload, proof = open_envelope(parts[TWIN])
        verify(proof["jws"], payload, keys)
        return read(payload)
    except PrivacyError as error:
        raise PortableError(f"{TWIN} is not verified: {error}") from None
    except DocumentError as error:
        raise PortableError(f"{TWIN} is signed, but not a twin we can read: {error}") from None


def _check_cards(twin: Twin, parts: Mapping[str, bytes]) -> None:
    """A card in the package is the one that an answer in it was made under."""
    named = {f"models/{one['model']['id']}.json": one["model"]["card"] for one in twin.assessments}
    for path in parts.keys() - _TYPES.keys():
        try:
            found = digest(orjson.loads(parts[path]))
        except (ValueError, RecursionError):
            raise PortableError(f"{path} can't be read") from None
        if named.get(path) != found:
            raise PortableError(f"{path} is not the card that the answer was made under")


def _check_ledger(twin: Twin, parts: Mapping[str, bytes], keys: VerificationKeys) -> None:
    """The entry that says how this document was made is among the lines, and each is signed."""
    lines = parts.get(LEDGER, b"").splitlines()
    report = ledger.verify_ledger(lines, keys, whole=False)
    if not report.ok:
        raise PortableError(f"{LEDGER} is not verified: {report.problems[0].what}")
    entries = [orjson.loads(ledger.split(line)[0]) for line in lines]
    for entry, line in zip(entries, lines, strict=True):
        kid = read_header(ledger.split(line)[1])["kid"]
        if not keys.life(kid).holds(str(entry.get("time", ""))):
            raise PortableError(f"{LEDGER} has an entry of a time at which its key did not sign")
    made = {entry.get("document") for entry in entries if entry.get("event") in MADE}
    if twin.digest not in made:
        raise PortableError(f"{LEDGER} has no entry about this version of the twin")
