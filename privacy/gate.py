"""The output gate: does any identifying value of the source stand in the finished document?

Independent of the de-identifier on purpose: it reads the *source* resources by the shape of their
JSON, knows no policy, and looks at the final bytes. A hit blocks the twin.

What is searched, and how:

- names, address parts, text that names people: word by word, case and accents folded;
- identifiers, ids, UIDs, phone numbers, e-mails, URLs, serial numbers, hashes, dates: as written,
  and with everything but letters and digits removed;
- each of them also reversed, in base64 (three alignments, both alphabets), hexadecimal, percent
  encoding, and as an unkeyed MD5, SHA-1 or SHA-256;
- whatever the source, patterns: dates, UIDs, e-mail, phone, URL, UUID, IP address, milliseconds.

What is searched *in*: every string and name of the document that is not in `allowed` (the words of
the document's own closed vocabulary, the codes it may hold, this twin's pseudonyms), compared as a
whole string: "female" is the vocabulary's even if the family name is Female. Numbers of the
document are clinical values, offsets and positions; a number is compared only with identifying
numbers of seven or more digits and with compact dates, because every shorter number occurs by
chance. Single words are compared as whole words; only values of six or more characters are also
searched inside longer strings.
"""

import base64
import binascii
import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

SHORTEST_INSIDE = 6  # characters a value must have to be searched inside longer strings
SHORTEST_NUMBER = 7  # digits a value must have to be searched among numbers
SHORTEST_TEXT = 12  # characters free text must have to be searched: shorter labels are common
SHORTEST_CODE = 5  # characters an identifier must have to be searched as a whole string
LARGEST_NUMBER = 1e18
LONGEST = 512  # of a longer value (base64 data, a narrative) the first part is searched

_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_WORD = re.compile(r"[^\W\d_]{2,}")
_RUN = re.compile(r"[0-9]{7,}")
_TAG = re.compile(r"<[^>]*>")

# Keys whose strings name people and places, anywhere below them.
_NAMES = frozenset({"name", "contact", "address", "alias"})
# Keys under which a single string identifies.
_CODES = frozenset({
    "id", "value", "uid", "url", "source", "reference", "versionId", "fullUrl", "serialNumber",
    "lotNumber", "carrierHRF", "carrierAIDC", "deviceIdentifier", "distinctIdentifier", "accession",
    "hash", "data", "implicitRules", "valueUri", "valueUrl", "valueOid", "valueUuid", "valueId",
})  # fmt: skip
_TEXTS = frozenset({
    "valueString", "text", "div", "conclusion", "description", "patientInstruction",
})  # fmt: skip
# Keys under which a display names a person or a place.
_PEOPLE = frozenset({
    "subject", "patient", "performer", "requester", "recorder", "asserter", "participant",
    "individual", "actor", "practitioner", "informationSource", "generalPractitioner", "referrer",
    "interpreter", "author", "authorReference", "collector", "managingOrganization",
    "serviceProvider", "location", "organization", "assigner", "owner",
})  # fmt: skip
# Parts of names and addresses that identify nobody: states, countries, kinds, titles.
_HARMLESS = frozenset({
    "resourceType", "state", "country", "use", "type", "system", "prefix", "suffix", "gender",
    "status", "mode", "period",
})  # fmt: skip
_TITLES = frozenset({
    "mr", "mrs", "ms", "miss", "dr", "prof", "md", "phd", "jr", "sr", "rn", "the", "and", "von",
    "van", "der", "den", "del",
})  # fmt: skip


@dataclass(slots=True, repr=False)
class IdentifyingValues:
    """What identifies, as searched. Has no printable form on purpose."""

    words: set[str] = field(default_factory=set)  # folded words
    codes: set[str] = field(default_factory=set)  # strings as written
    dates: set[tuple[str, str, str]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.words) + len(self.codes) + len(self.dates)


@dataclass(frozen=True, slots=True)
class Hit:
    path: str  # in the document, positions left out
    rule: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether the document may be signed; where and by which rule not. Never a value."""

    hits: tuple[Hit, ...]
    searched: int  # identifying values searched for

    @property
    def passed(self) -> bool:
        return not self.hits

    def as_entry(self) -> dict[str, Any]:
        """For the ledger."""
        rules = sorted({(hit.path, hit.rule) for hit in self.hits})
        return {
            "passed": self.passed,
            "searched": self.searched,
            "hits": [{"path": path, "rule": rule} for path, rule in rules],
        }


def fold(text: str) -> str:
    """Case and accents removed."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def squash(text: str) -> str:
    """Folded, and nothing but letters and digits."""
    return "".join(char for char in fold(text) if char.isalnum())


# Collecting ---------------------------------------------------------------------------------------


def collect_identifiers(resources: Iterable[Any]) -> IdentifyingValues:
    """The identifying values of the source resources of one patient."""
    values = IdentifyingValues()
    for resource in resources:
        _collect(resource, values, named=False, person=False)
    return values


def _collect(node: Any, values: IdentifyingValues, named: bool, person: bool) -> None:
    if type(node) is dict:
        for key, inner in node.items():
            bare = key.lstrip("_")
            if type(inner) is str:
                _string(bare, inner, values, named, person)
            elif type(inner) in {dict, list}:
                _collect_list(bare, inner, values, named, person)
    elif type(node) is list:
        for inner in node:
            _collect(inner, values, named, person)


def _collect_list(
    key: str, inner: Any, values: IdentifyingValues, named: bool, person: bool
) -> None:
    named = named or key in _NAMES
    for item in inner if type(inner) is list else [inner]:
        if type(item) is str:
            _string(key, item, values, named, person)
        else:
            _collect(item, values, named, person or key in _PEOPLE)


def _string(key: str, text: str, values: IdentifyingValues, named: bool, person: bool) -> None:
    found = _DATE.match(text)
    if found is not None:
        values.dates.add((found[1], found[2], found[3]))
        return
    if key in _HARMLESS or (named and key == "url"):
        return
    if (named and key != "reference") or (person and key == "display"):
        _words(text, values)
    elif key in _TEXTS:
        _text(text, values)
    if key in _CODES or named:
        values.codes.add(text[:LONGEST])
        if key != "url":  # of an extension: its last part is the public name of an element
            values.codes |= set(_last_parts(text))


def _last_parts(text: str) -> Iterator[str]:
    """The id at the end of a reference or URL."""
    if "/" in text or ":" in text:
        yield re.split(r"[/:|=]", text[:LONGEST])[-1]


def _words(text: str, values: IdentifyingValues) -> None:
    words = {fold(word) for word in _WORD.findall(text[:LONGEST])}
    values.words |= words - _TITLES
    whole = squash(text[:LONGEST])
    if len(whole) >= SHORTEST_INSIDE:
        values.words.add(whole)


def _text(text: str, values: IdentifyingValues) -> None:
    """Free text as a whole: its names are known from where they are names; a word is no text."""
    plain = _TAG.sub(" ", text).strip()[:LONGEST]
    values.dates |= set(_DATE.findall(plain))
    if " " in plain and len(plain) >= SHORTEST_TEXT:
        values.codes.add(plain)


# Searching ----------------------------------------------------------------------------------------


class _Needles:
    """All forms of all values, in sets, so that searching does not slow down with their number."""

    def __init__(self, values: IdentifyingValues) -> None:
        self.whole: dict[str, str] = {}  # squashed string or word -> rule
        self.encoded: dict[str, str] = {}  # case-sensitive string -> rule
        self.numbers: dict[str, str] = {}  # digits -> rule
        for word in values.words:
            self.whole.setdefault(word, "name")
            self._encode(word, "name")
            self._encode(word.capitalize(), "name")
            self._encode(word.upper(), "name")
        for code in values.codes:
            self._code(code)
        for date in values.dates:
            self._date(*date)
        self.inside = {k: v for k, v in self.whole.items() if len(k) >= SHORTEST_INSIDE}
        self.grams = {needle[:SHORTEST_INSIDE] for needle in self.inside}
        self.encoded_grams = {needle[:SHORTEST_INSIDE] for needle in self.encoded}

    def _code(self, code: str) -> None:
        plain = squash(code)
        if len(plain) < SHORTEST_CODE:
            return
        self.whole.setdefault(plain, "identifier")
        self.whole.setdefault(plain[::-1], "identifier-reversed")
        self._encode(code, "identifier")
        self._encode(plain, "identifier")
        if plain.isdigit():  # a phone number, in whatever groups
            self._number(plain)
            self._number(plain[1:] if plain[0] == "1" else plain)
        elif " " not in code:  # not out of free text: its numbers may be the twin's own values
            for run in _RUN.findall(code):
                self._number(run)

    def _number(self, digits: str) -> None:
        """Zeros in front are not written in numbers; what is then short occurs by chance."""
        for form, rule in ((digits, "identifier"), (digits[::-1], "identifier-reversed")):
            number = form.lstrip("0")
            if len(number) >= SHORTEST_NUMBER:
                self.numbers.setdefault(number, rule)

    def _date(self, year: str, month: str, day: str) -> None:
        for text in (year + month + day, month + day + year, day + month + year):
            self.whole.setdefault(text, "date")
            self.whole.setdefault(text[::-1], "date-reversed")
        self.numbers.setdefault(year + month + day, "date")
        self._encode(f"{year}-{month}-{day}", "date")

    def _encode(self, text: str, rule: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        if len(raw) < 4:
            return
        for form, kind in encodings(raw):
            if len(form) >= SHORTEST_INSIDE:
                self.encoded.setdefault(form, f"{rule}-{kind}")
        self.whole.setdefault(squash(text)[::-1], f"{rule}-reversed")

    def in_string(self, text: str) -> str | None:
        """The rule by which a string of the document is a hit."""
        plain = squash(text)
        if not plain:
            return None
        found = self.whole.get(plain)
        if found:
            return found
        for word in _WORD.findall(fold(text)):
            if len(word) > 2 and word in self.whole:
                return self.whole[word]
        return self._inside(plain, self.grams, self.inside) or self._inside(
            text, self.encoded_grams, self.encoded
        )

    @staticmethod
    def _inside(text: str, grams: set[str], needles: dict[str, str]) -> str | None:
        size = SHORTEST_INSIDE
        present = {text[i : i + size] for i in range(len(text) - size + 1)} & grams
        if present:
            for needle, rule in needles.items():
                if needle[:size] in present and needle in text:
                    return rule
        return None

    def in_number(self, text: str) -> str | None:
        """A number is compared as the whole number it is, or by the part before its point."""
        whole = text.lstrip("-").partition(".")[0]
        if "e" in text or "E" in text:
            value = float(text)
            whole = str(abs(int(value))) if abs(value) < LARGEST_NUMBER else ""
        return self.numbers.get(whole.lstrip("0"))


def encodings(raw: bytes) -> Iterator[tuple[str, str]]:
    """The forms in which a value may hide, each with the name of its encoding."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + raw).decode()
        # Characters that also depend on the bytes before and after are cut off.
        inner = text[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6]
        yield inner, "base64"
        yield inner.replace("+", "-").replace("/", "_"), "base64"
    yield binascii.hexlify(raw).decode(), "hex"
    yield binascii.hexlify(raw).decode().upper(), "hex"
    percent = quote(raw, safe="")
    if percent != raw.decode("utf-8", "replace"):
        yield percent, "percent"
    for name in ("md5", "sha1", "sha256"):
        yield hashlib.new(name, raw, usedforsecurity=False).hexdigest(), name


_DAY, _MONTH = r"(?:0[1-9]|[12]\d|3[01])", r"(?:0[1-9]|1[0-2])"
_PATTERNS = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "date": rf"(?<!\d)(?:18|19|20)\d\d[-/.]{_MONTH}[-/.]{_DAY}(?!\d)",
        "date-other": r"(?<![\d.])[0-3]?\d[-/.][0-3]?\d[-/.](?:18|19|20)\d\d(?!\d)",
        "compact-date": rf"\A(?:19|20)\d\d{_MONTH}{_DAY}(?:\d{{4,9}})?\Z",
        "uid": r"(?<!\d)[0-2](?:\.\d+){4,}|urn:oid:",
        "e-mail": r"[^\s@]+@[^\s@]+\.[a-z]{2,}",
        "url": r"(?:https?|ftp|mailto|tel|urn):",
        "uuid": r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
        "phone": r"(?<![\w.])(?:\+\d[\d ().-]{7,}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]?\d{4})(?![\w.])",
        "ssn": r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)",
        "ip": r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])",
    }.items()
}
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
_MILLISECONDS = re.compile(r"1[0-9]{12}\Z")
_COMPACT = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\Z")


def check(
    document: bytes, values: IdentifyingValues, allowed: Collection[str] = frozenset()
) -> GateResult:
    """Search the final bytes. `allowed`: whole strings that belong to the document's vocabulary."""
    search = _Search(_Needles(values), allowed)
    search.node(json.loads(document, parse_float=_Number, parse_int=_Number), "")
    return GateResult(tuple(search.hits), len(values))


class Searcher:
    """One patient's values, to search many pieces of FHIR for.

    Names and identifiers alone: dates stand in files as their policy allows, and the addresses of
    code systems look like any other.
    """

    def __init__(self, values: IdentifyingValues, allowed: Collection[str]) -> None:
        self._needles, self._allowed = _Needles(values), allowed

    def hits(self, data: bytes) -> list[Hit]:
        search = _Search(self._needles, self._allowed)
        search.node(json.loads(data, parse_float=_Number, parse_int=_Number), "")
        return [hit for hit in search.hits if hit.rule.startswith(("name", "identifier"))]


class _Search:
    """One walk over the document, remembering where it hits."""

    def __init__(self, needles: _Needles, allowed: Collection[str]) -> None:
        self.needles, self.allowed = needles, allowed
        self.hits: dict[Hit, None] = {}

    def node(self, node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, inner in node.items():
                self.node(inner, self.named(key, path))
        elif isinstance(node, list):
            for inner in node:
                self.node(inner, path)
        elif isinstance(node, str):
            self.leaf(node, path)

    def named(self, key: str, path: str) -> str:
        """The path below a name: a name that is a hit itself, or an odd one, is not shown."""
        hit = self.leaf(key, path)
        shown = "*" if hit or not _NAME.fullmatch(key) else key
        return f"{path}.{shown}" if path else shown

    def leaf(self, text: str, path: str) -> bool:
        if type(text) is _Number:
            rule = _judge_number(text, self.needles)
        else:
            rule = None if text in self.allowed else _judge(text, self.needles)
        if rule:
            self.hits[Hit(path, rule)] = None
        return rule is not None


class _Number(str):
    """A number of the document, as it is written."""

    __slots__ = ()


def _judge(text: str, needles: _Needles) -> str | None:
    digest = _DIGEST.fullmatch(text)
    if digest is not None:  # random digits hold any short number; only as a whole they tell
        return needles.encoded.get(digest[1])
    return needles.in_string(text) or pattern_of(text)


def _judge_number(text: str, needles: _Needles) -> str | None:
    found = needles.in_number(text)
    if found:
        return found
    if _MILLISECONDS.match(text):
        return "pattern-milliseconds"
    return "pattern-compact-date" if _COMPACT.match(text) else None


def pattern_of(text: str) -> str | None:
    """The kind of identifier a string looks like."""
    for name, pattern in _PATTERNS.items():
        if pattern.search(text):
            return f"pattern-{name}"
    return None
