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

How it is done quickly: a record holds thousands of values, a twin a few dozen strings that are not
`allowed`. So the document is asked first. Each of its distinct strings is judged once: it is looked
up among the values, forwards and backwards, as it is and by what it begins with; what it could hide
in hexadecimal or base64 is decoded, and only values of which a part then shows are spelled in these
encodings and compared. Values are hashed only if the document has something as
long as a hash, and their numbers gathered only if it has a number of seven digits.

Of digests, `allowed` may hold those that were fixed before the record was read: of a policy file,
the same for every patient. Whatever was made from this patient (a parent, a snapshot of inputs) is
compared with the hashes of all values; to vouch for it would be to trust what the gate checks.
"""

import base64
import binascii
import hashlib
import json
import re
import secrets
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, compress, filterfalse
from operator import itemgetter
from typing import Any, AnyStr, NamedTuple
from urllib.parse import quote

try:
    from privacy import _contents as _native
except ImportError:  # installed without a compiler
    _native = None  # type: ignore[assignment]

_SEED = secrets.randbits(64)
SHORTEST_INSIDE = 6  # characters a value must have to be searched inside longer strings
SHORTEST_NUMBER = 7  # digits a value must have to be searched among numbers
SHORTEST_TEXT = 12  # characters free text must have to be searched: shorter labels are common
SHORTEST_CODE = 5  # characters an identifier must have to be searched as a whole string
SHORTEST_HIDDEN = 4  # bytes a value must have to be searched in encodings
CORE = 3  # bytes of a hidden value that give it away: the shortest has five in base64, four in hex
DATE_DIGITS = 8  # of a date without marks
LARGEST_NUMBER = 1e18
MOST_PASSED = 50_000  # strings without a hit that one search remembers
LONGEST = 512  # of a longer value (base64 data, a narrative) the first part is searched

_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_WORD = re.compile(r"[^\W\d_]{2,}")
_RUN = re.compile(r"[0-9]{7,}")
_NO_MARKS = {code: None for code in range(128) if not chr(code).isalnum()}
_NO_MARKS_IN_LINES = {code: None for code in _NO_MARKS if code != ord("\n")}
_TAG = re.compile(r"<[^>]*>")
_PART = re.compile(r"[/:|=]")
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{6,}")
_ANY_HEX_RUN = re.compile(r"[0-9A-Fa-f]{8,}")
_HEX_RUN = re.compile(r"[0-9a-f]{32,}")
_ONE_ALPHABET = str.maketrans("-_", "+/")
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64}  # name -> hexadecimal digits
SHORTEST_HASH = 32
_PRINTABLE = re.compile(rb"[ -~]{3,}")
_STRUCTURE = re.compile(rb"(?:[\s{}\[\]:,0-9.eE+-]++|true|false|null)*+")
_NO_FRAME = bytes(code for code in range(256) if code not in b'",')
_NUMBER = re.compile(rb"-?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?")

# Keys whose strings name people and places, anywhere below them.
_NAMES = frozenset({"name", "contact", "address", "alias"})
# Keys under which a single string identifies.
_CODES = frozenset({
    "id", "value", "uid", "url", "source", "reference", "versionId", "fullUrl", "serialNumber",
    "lotNumber", "carrierHRF", "carrierAIDC", "deviceIdentifier", "distinctIdentifier", "accession",
    "hash", "data", "implicitRules", "valueUri", "valueUrl", "valueOid", "valueUuid", "valueId",
})  # fmt: skip
_TEXTS = frozenset({
    "valueString", "text", "div", "conclusion", "description", "patientInstruction", "title",
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
_TELLING = _HARMLESS | _CODES | _TEXTS | {"display"}
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

    def add_names(self, texts: Iterable[str]) -> None:
        """Names of people: word by word, and as written."""
        listed = set(texts)
        _words(listed, self)
        self.add_codes(listed)

    def add_codes(self, texts: Iterable[str]) -> None:
        """Identifiers as written, and the last part of those that have parts."""
        listed = set(texts)
        self.codes.update([text[:LONGEST] for text in listed])
        self.codes.update(_last_parts(listed))

    def add_texts(self, texts: Iterable[str]) -> None:
        _text(set(texts), self)

    def add_date(self, year: str, month: str, day: str) -> None:
        self.dates.add((year, month, day))

    def add_all(self, others: "IdentifyingValues") -> None:
        self.words |= others.words
        self.codes |= others.codes
        self.dates |= others.dates

    def without(self, others: "IdentifyingValues") -> "IdentifyingValues":
        return IdentifyingValues(
            self.words - others.words, self.codes - others.codes, self.dates - others.dates
        )


@dataclass(slots=True, repr=False)
class Known:
    """What has been made of values before they are searched for: the codes squashed, as far as they
    are long enough, and the digests of all."""

    plain: dict[str, str] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)


@dataclass(slots=True, repr=False)
class Growing:
    """The values of a record that comes bit by bit, each squashed and hashed as it comes: that is
    much of what would be left to do when all is there."""

    values: IdentifyingValues = field(default_factory=IdentifyingValues)
    known: Known = field(default_factory=Known)

    def add(self, more: IdentifyingValues) -> None:
        new = more.without(self.values)
        known = _Needles(new).known
        self.known.plain |= known.plain
        self.known.digests |= known.digests
        self.values.add_all(new)


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
    return "".join(filterfalse(unicodedata.combining, decomposed))


def squash(text: str) -> str:
    """Folded, and nothing but letters and digits."""
    folded = fold(text)
    if folded.isascii():
        return folded.translate(_NO_MARKS)
    return "".join(char for char in folded if char.isalnum())


# Collecting ---------------------------------------------------------------------------------------


# What stands above a text: a name or address, a person or place, neither, both.
NAMED, PERSON = 1, 2
# By what stands above (0 to 3), the distinct texts of each key.
Texts = list[defaultdict[str, set[str]]]


def no_texts() -> Texts:
    return [defaultdict(set) for _ in range(4)]


class Collected(NamedTuple):
    """What identifies, and what the walk that found it has proved besides.

    Whoever parsed the source can tell by it that all of what was parsed was seen.
    """

    values: IdentifyingValues
    keys: int  # names in objects, at any depth
    deepest: int  # objects and lists inside each other: at most so many
    references: frozenset[str]  # every text under that name


def collect_identifiers(resources: Iterable[Any]) -> IdentifyingValues:
    """The identifying values of the source resources of one patient."""
    return collect(resources).values


def collect(resources: Iterable[Any], more: Texts | None = None) -> Collected:
    """The same, with the extent of what was walked through. `more`: texts of other resources of the
    same patient, which nobody has walked through; what is found is added to them."""
    values = IdentifyingValues()
    walk = _Walk(resources, more or no_texts())
    for context, found in enumerate(walk.texts):
        for key, texts in found.items():
            _sort_in(context, key, texts, values)
    references = frozenset().union(*(found["reference"] for found in walk.texts))
    return Collected(values, walk.keys, 2 * walk.levels, references)  # of a list and an object each


def below(key: str) -> int:
    """What a key says of the texts below it."""
    bare = key.lstrip("_")
    return NAMED * (bare in _NAMES) | PERSON * (bare in _PEOPLE)


def key_told(key: str) -> str:
    """The key, if it makes a difference to texts that stand under it, else an empty one."""
    return key if key.lstrip("_") in _TELLING else ""


def identifies(context: int, key: str, text: str) -> bool:
    """Whether a text that stands so adds anything to what is collected."""
    values = IdentifyingValues()
    _sort_in(context, key, {text}, values)
    return key == "reference" or bool(len(values))


def names(context: int, key: str) -> bool:
    """Whether of texts that stand so more is collected than the days in them."""
    bare, named = key.lstrip("_"), context & NAMED
    if bare in _HARMLESS or (named and bare == "url"):
        return False
    person = context & PERSON and bare == "display"
    return bool(named or person or bare in _TEXTS or bare in _CODES)


class _Below(dict[str, int]):
    """The same, worked out once for each key of a record."""

    def __missing__(self, key: str) -> int:
        found = self[key] = below(key)
        return found


class _Walk:
    """Through all that resources hold, once."""

    def __init__(self, resources: Iterable[Any], texts: Texts) -> None:
        self.texts = texts
        self._pending: list[list[dict[str, Any]]] = [[{"": list(resources)}], [], [], []]
        self._below = _Below()
        self.keys, self.levels = -1, 0  # the one above is ours
        level = self._level if _native is None else self._levels
        for context in range(4):  # going down only adds to it
            while nodes := self._pending[context]:
                self._pending[context] = []
                level(context, nodes)

    def _levels(self, context: int, nodes: list[dict[str, Any]]) -> None:
        """In C, and in the order in which a parser has made it all: everything that is read goes
        through here."""
        texts, pending, below = tuple(self.texts), self._pending, self._below
        keys, deepest = _native.walked(nodes, context, texts, pending, below)
        self.keys += keys
        self.levels += deepest

    def _level(self, context: int, nodes: list[dict[str, Any]]) -> None:
        """The same, one step down."""
        texts, pending, below = self.texts[context], self._pending, self._below
        self.levels += 1
        self.keys += sum(map(len, nodes))
        for node in nodes:
            for key, inner in node.items():
                kind = type(inner)
                if kind is str:
                    texts[key].add(inner)
                elif kind is dict:
                    pending[context | below[key]].append(inner)
                elif kind is list:
                    if len(inner) == 1 and type(inner[0]) is dict:  # nine lists of ten
                        pending[context | below[key]].append(inner[0])
                    else:
                        self._share_out(context, key, inner)

    def _share_out(self, context: int, key: str, items: list[Any]) -> None:
        inside = context | self._below[key]
        texts, pending = self.texts[context | inside & NAMED][key], self._pending[inside]
        for item in items:
            kind = type(item)
            if kind is dict:
                pending.append(item)
            elif kind is str:
                texts.add(item)
            elif kind is list:
                pending.append({key: item})
                self.keys -= 1  # not theirs


def _sort_in(context: int, key: str, texts: set[str], values: IdentifyingValues) -> None:
    key, named, person = key.lstrip("_"), context & NAMED, context & PERSON
    texts = _without_dates(texts, values)
    if not names(context, key):
        return
    if (named and key != "reference") or (person and key == "display"):
        _words(texts, values)
    elif key in _TEXTS:
        _text(texts, values)
    if key in _CODES or named:
        values.codes.update([text[:LONGEST] for text in texts])
        if key != "url":  # of an extension: its last part is the public name of an element
            values.codes.update(_last_parts(texts))


def _without_dates(texts: set[str], values: IdentifyingValues) -> set[str]:
    """Most texts do not begin with a digit, which is seen sooner than that they are no date."""
    dated = [date for text in texts if text[:1].isdigit() and (date := _DATE.match(text))]
    if not dated:
        return texts
    values.dates.update([(date[1], date[2], date[3]) for date in dated])
    return texts.difference([date.string for date in dated])


def _last_parts(texts: set[str]) -> Iterator[str]:
    """The id at the end of a reference or URL."""
    for text in texts:
        if "/" in text or ":" in text:
            yield _PART.split(text[:LONGEST])[-1]


def _words(texts: set[str], values: IdentifyingValues) -> None:
    for text in texts:
        values.words.update({fold(word) for word in _WORD.findall(text[:LONGEST])} - _TITLES)
        whole = squash(text[:LONGEST])
        if len(whole) >= SHORTEST_INSIDE:
            values.words.add(whole)


def _text(texts: set[str], values: IdentifyingValues) -> None:
    """Free text as a whole: its names are known from where they are names; a word is no text."""
    for text in texts:
        plain = _TAG.sub(" ", text).strip()[:LONGEST]
        values.dates.update(_DATE.findall(plain))
        if "^" in plain:  # a name as DICOM writes it: DOE^JANE
            _words({plain}, values)
        if " " in plain and len(plain) >= SHORTEST_TEXT:
            values.codes.add(plain)


# Searching ----------------------------------------------------------------------------------------


class _Needles:
    """All values, each spelled in a form only when something asks for that form.

    Most are never spelled: a record holds thousands of values, so it is asked which of them are
    among the few strings of the document, rather than what each of them might look like there.
    """

    def __init__(self, values: IdentifyingValues, known: Known | None = None) -> None:
        self._values = values
        if known is not None:
            self._plain, self.digests = known.plain, known.digests

    @property
    def known(self) -> Known:
        return Known(self._plain, self.digests)

    def among(self, texts: set[str]) -> dict[str, str]:
        """Those of these squashed strings and words that are a value → rule."""
        back = {text[::-1]: text for text in texts}
        dated = [text for text in texts if len(text) == DATE_DIGITS]
        found = {text: "date-reversed" for text in dated if self._is_date(text[::-1])}
        found |= {text: "date" for text in dated if self._is_date(text)}
        for values, rule in ((self._names, "name"), (self._identifiers, "identifier")):
            found |= {back[text]: f"{rule}-reversed" for text in values & back.keys()}
        found |= dict.fromkeys(self._identifiers & texts, "identifier")
        return found | dict.fromkeys(self._values.words & texts, "name")

    def wholly(self, given: Set[str]) -> set[str]:
        """Those of our ids, and of references to them, that are a value or its mirror image: not
        drawn, then, but taken over."""
        ids = set(_ids_in(given)) if given else set()
        sizes = set(map(len, ids))
        values = set(_of_sizes(self._identifiers, sizes)).union(_of_sizes(self._names, sizes))
        values |= {text[::-1] for text in values}
        if values.isdisjoint(ids):
            return set()
        return {text for text in given if not values.isdisjoint(_ids_in([text]))}

    def beginning(self, heads: set[str]) -> dict[str, str]:
        """The values that begin with one of these, all `SHORTEST_INSIDE` long → rule."""
        found: dict[str, str] = {}
        if not heads:
            return found
        tails = {head[::-1] for head in heads}
        if any(head.isdecimal() for head in heads):
            for text in self._date_forms():
                found |= {text: "date"} if text[:SHORTEST_INSIDE] in heads else {}
                found |= {text[::-1]: "date-reversed"} if text[-SHORTEST_INSIDE:] in tails else {}
        for values, rule in ((self._names, "name"), (self._identifiers, "identifier")):
            ending = _with_part(values, _TAIL, tails)
            found |= {text[::-1]: f"{rule}-reversed" for text in ending}
        for values, rule in ((self._identifiers, "identifier"), (self._values.words, "name")):
            found |= dict.fromkeys(_with_part(values, _HEAD, heads), rule)
        return found

    def _is_date(self, text: str) -> bool:
        """Year first, or last: then the month before or after the day."""
        dates, first, last = self._values.dates, text[:4], text[4:]
        return (
            (first, last[:2], last[2:]) in dates
            or (last, first[:2], first[2:]) in dates
            or (last, first[2:], first[:2]) in dates
        )

    def _date_forms(self) -> Iterator[str]:
        for year, month, day in self._values.dates:
            yield from (year + month + day, month + day + year, day + month + year)

    @cached_property
    def _plain(self) -> dict[str, str]:
        """Code → squashed, of all that are long enough."""
        squashed = _squash_all(self._values.codes)
        return {code: plain for code, plain in squashed if len(plain) >= SHORTEST_CODE}

    @cached_property
    def _identifiers(self) -> set[str]:
        return set(self._plain.values())

    @cached_property
    def _names(self) -> set[str]:
        """Words, squashed, that are also searched backwards. Of ASCII, all cases are one."""
        words = self._values.words
        cased = chain.from_iterable([word] if word.isascii() else _cased(word) for word in words)
        long = [w for w in cased if len(w.encode("utf-8", "surrogatepass")) >= SHORTEST_HIDDEN]
        return {plain for _, plain in _squash_all(long)}

    def _texts(self) -> Iterator[tuple[str, Iterable[str]]]:
        """What could be hidden in an encoding, with the rule; of two rules the first counts."""
        yield "name", chain.from_iterable(map(_cased, self._values.words))
        yield "identifier", self._plain.keys()
        yield "identifier", self._identifiers
        yield "date", map("-".join, self._values.dates)

    def showing(self, *decoded: bytes) -> list[dict[bytes, str]]:
        """Of each of these, those of `hidden` of which a part shows there; without spelling the
        others in bytes."""
        printable = chain.from_iterable(map(_PRINTABLE.findall, decoded))
        cores = {core.decode() for core in _windows(printable, CORE)}
        found: list[dict[bytes, str]] = [{} for _ in decoded]
        for rule, some in self._texts() if any(decoded) else ():
            texts = list(some)
            for text in chain(_with_part(texts, _CORE, cores), _not_printable(texts)):
                raw = text.encode("utf-8", "surrogatepass")
                for where, shown in zip(decoded, found, strict=True):
                    if len(raw) >= SHORTEST_HIDDEN and raw[1 : 1 + CORE] in where:
                        shown.setdefault(raw, rule)
        return found

    @cached_property
    def hidden(self) -> dict[bytes, str]:
        """The bytes that an encoding would start from → rule."""
        found: dict[bytes, str] = {}
        for rule, texts in self._texts():
            raws = [text.encode("utf-8", "surrogatepass") for text in texts]
            found |= {r: rule for r in raws if len(r) >= SHORTEST_HIDDEN and r not in found}
        return found

    @cached_property
    def percents(self) -> dict[str, str]:
        forms = ((_percent(raw), rule) for raw, rule in self.hidden.items())
        return {form: f"{rule}-percent" for form, rule in forms if form}

    def hashes(self, name: str) -> dict[str, str]:
        if name not in self._hashed:
            self._hashed[name] = {
                _hash(name, raw): f"{rule}-{name}" for raw, rule in self.hidden.items()
            }
        return self._hashed[name]

    @cached_property
    def _hashed(self) -> dict[str, dict[str, str]]:
        return {}

    @cached_property
    def numbers(self) -> dict[str, str]:
        """Digits → rule."""
        found = {year + month + day: "date" for year, month, day in self._values.dates}
        for code, plain in self._plain.items():
            for digits in _digits(code, plain):
                for form, rule in ((digits, "identifier"), (digits[::-1], "identifier-reversed")):
                    number = form.lstrip("0")  # not written in numbers
                    if len(number) >= SHORTEST_NUMBER:  # what is then short occurs by chance
                        found.setdefault(number, rule)
        return found

    def hashed_to(self, digits: str) -> str | None:
        """The rule, where these are the digest of a value."""
        known = bytes.fromhex(digits) in self.digests
        return self.hashes("sha256")[digits] if known else None

    @cached_property
    def digests(self) -> set[bytes]:
        """Of all values. Mostly none is met: whose each one is, is not noted."""
        return {hashlib.sha256(raw, usedforsecurity=False).digest() for raw in self.hidden}

    def in_number(self, text: str) -> str | None:
        """A number is compared as the whole number it is, or by the part before its point."""
        whole = text.lstrip("-").partition(".")[0]
        if "e" in text or "E" in text:
            value = float(text)
            whole = str(abs(int(value))) if abs(value) < LARGEST_NUMBER else ""
        whole = whole.lstrip("0")
        return self.numbers.get(whole) if len(whole) >= SHORTEST_NUMBER else None


class _Suspects:
    """Of all values, those of which a part shows somewhere in these texts or digests."""

    def __init__(
        self, needles: _Needles, texts: Collection[str], digests: Collection[str] = ()
    ) -> None:
        self._needles, self._texts, self._digests = needles, texts, digests
        self._plain = dict(_squash_all(texts))
        asked = set(self._plain.values()) | _words_of(texts)
        self._whole = needles.among(asked - {""})
        self._inside = needles.beginning(_windows(self._plain.values(), SHORTEST_INSIDE))
        self._hidden, self._posing = needles.showing(_decoded(texts), _decoded(digests))

    def digests(self) -> Iterator[tuple[str, str]]:
        """Those that are hits, with the rule. Random digits hold any short number: they tell only
        as a whole."""
        posing: dict[str, str] = {}
        for raw, rule in self._posing.items():
            for form, kind in _spellings(raw):
                posing.setdefault(form, f"{rule}-{kind}")
        for digits in self._digests:
            rule = self._needles.hashed_to(digits) or posing.get(digits, "")
            if rule:
                yield digits, rule

    def strings(self) -> Iterator[tuple[str, str]]:
        """Those that are hits, with the rule. Mostly no value shows: then few have to be judged."""
        if self._whole or self._inside or self._hidden:
            judged = self._texts
        else:
            judged = [text for text in self._texts if "%" in text or len(text) >= SHORTEST_HASH]
        for text in judged:
            rule = self._in_string(text)
            if rule:
                yield text, rule

    def _in_string(self, text: str) -> str | None:
        """The rule by which a string of the document is a hit."""
        plain = self._plain[text]
        if not plain:
            return None
        for part in (plain, *_words_of([text])) if self._whole else ():
            if part in self._whole:
                return self._whole[part]
        for needle, rule in self._inside.items():
            if needle in plain:
                return rule
        return self._spelled(text) or self._percent_in(text) or self._hash_in(text)

    def _spelled(self, text: str) -> str | None:
        """In hexadecimal or base64."""
        for raw, rule in self._hidden.items():
            for form, kind in _spellings(raw):
                if len(form) >= SHORTEST_INSIDE and form in text:
                    return f"{rule}-{kind}"
        return None

    def _percent_in(self, text: str) -> str | None:
        if "%" in text and len(text) >= SHORTEST_INSIDE:
            for form, rule in self._needles.percents.items():
                if form in text:
                    return rule
        return None

    def _hash_in(self, text: str) -> str | None:
        for run in _HEX_RUN.findall(text):
            for name, size in _HASHES.items():
                for part in _windows([run], size):
                    if part in self._needles.hashes(name):
                        return self._needles.hashes(name)[part]
        return None


def _cased(word: str) -> tuple[str, str, str]:
    return word, word.capitalize(), word.upper()


_HEAD = itemgetter(slice(SHORTEST_INSIDE))
_TAIL = itemgetter(slice(-SHORTEST_INSIDE, None))
_CORE = itemgetter(slice(1, 1 + CORE))


def _with_part(
    texts: Collection[str], part: Callable[[str], str], wanted: set[str]
) -> Iterator[str]:
    """Those of which this part is wanted; without a step of Python for each."""
    return compress(texts, map(wanted.__contains__, map(part, texts)))


def _of_sizes(texts: Collection[str], sizes: set[int]) -> Iterator[str]:
    return compress(texts, map(sizes.__contains__, map(len, texts)))


def _squash_all(texts: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each text, squashed; the simple ones, which are most, in one go, a line for each."""
    simple = [text for text in texts if text.isascii() and "\n" not in text]
    lines = "\n".join(simple).lower().translate(_NO_MARKS_IN_LINES).split("\n")
    yield from zip(simple, lines, strict=False)  # no lines split into one
    if len(simple) < len(texts):
        yield from ((text, squash(text)) for text in set(texts).difference(simple))


def _digits(code: str, plain: str) -> Iterator[str]:
    """The numbers of an identifier."""
    if plain.isdigit():  # a phone number, in whatever groups
        yield plain
        if plain[0] == "1":
            yield plain[1:]
    elif " " not in code:  # not out of free text: its numbers may be the twin's own values
        yield from _RUN.findall(code)


def _not_printable(texts: Collection[str]) -> Iterator[str]:
    """Those that are not printable ASCII throughout; of most records none is."""
    together = "".join(texts)
    if together.isascii() and together.isprintable():
        return iter(())
    simple = filter(str.isascii, texts)
    return chain(filterfalse(str.isascii, texts), filterfalse(str.isprintable, simple))


def _windows(texts: Iterable[AnyStr], size: int) -> set[AnyStr]:
    return {text[i : i + size] for text in texts for i in range(len(text) - size + 1)}


def _words_of(texts: Collection[str]) -> set[str]:
    """The words of three letters or more, folded."""
    simple = "\n".join(filter(str.isascii, texts)).lower()
    others = [fold(text) for text in texts if not text.isascii()]
    found = chain.from_iterable(map(_WORD.findall, [simple, *others]))
    return {word for word in found if len(word) > 2}


def _ids_in(references: Iterable[str]) -> list[str]:
    """The last parts among them, squashed."""
    parts = "\n".join(references).lower().replace("-", "")
    return parts.replace("/", "\n").replace(":", "\n").split("\n")


def _decoded(texts: Iterable[str]) -> bytes:
    """What hexadecimal and base64 in texts may stand for, wherever in them they begin.

    Of a value spelled there, all bytes but the first and the last are sure to show: in base64 these
    two share a character with what stands before and after.
    """
    lines = "\n".join(texts)
    found = []
    runs = {run.translate(_ONE_ALPHABET) for run in _BASE64_RUN.findall(lines)}
    for shift in range(4):
        found += [binascii.a2b_base64("".join([_in_fours("A" * shift + run) for run in runs]))]
    for run in set(_ANY_HEX_RUN.findall(lines)):
        found += [bytes.fromhex(run[i : i + (len(run) - i) // 2 * 2]) for i in range(2)]
    return b"\0".join(filter(None, found))


def _in_fours(text: str) -> str:
    """Its last group filled up; of what one character begins nothing can be read."""
    padded = text + "AAA"
    return padded[: len(padded) // 4 * 4]


def encodings(raw: bytes) -> Iterator[tuple[str, str]]:
    """The forms in which a value may hide, each with the name of its encoding."""
    yield from _spellings(raw)
    percent = _percent(raw)
    if percent:
        yield percent, "percent"
    for name in _HASHES:
        yield _hash(name, raw), name


def _spellings(raw: bytes) -> Iterator[tuple[str, str]]:
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + raw).decode()
        # Characters that also depend on the bytes before and after are cut off.
        inner = text[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6]
        yield inner, "base64"
        yield inner.replace("+", "-").replace("/", "_"), "base64"
    yield raw.hex(), "hex"
    yield raw.hex().upper(), "hex"


def _percent(raw: bytes) -> str | None:
    """Percent encoded, if that changes anything."""
    percent = quote(raw, safe="")
    return percent if percent != raw.decode("utf-8", "replace") else None


def _hash(name: str, raw: bytes) -> str:
    digest: str = getattr(hashlib, name)(raw, usedforsecurity=False).hexdigest()
    return digest


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
    document: bytes,
    values: IdentifyingValues,
    allowed: Collection[str] = frozenset(),
    known: Known | None = None,
) -> GateResult:
    """Search the final bytes. `allowed`: whole strings that belong to the document's vocabulary.
    `known`: what has been made of all values before."""
    return GateResult(tuple(_hits(document, _Needles(values, known), allowed)), len(values))


class Searcher:
    """One patient's values, to search many pieces of FHIR for.

    Names and identifiers alone: dates stand in files as their policy allows, and the addresses of
    code systems look like any other.
    """

    def __init__(self, values: IdentifyingValues, allowed: Collection[str]) -> None:
        self._needles = _Needles(IdentifyingValues(values.words, values.codes))
        self._allowed = frozenset(allowed)
        self._passed: set[str] = set()

    def search(self, documents: Sequence[bytes], given: Set[str] = frozenset()) -> "Identifying":
        """What identifies in all of these JSON documents together.

        Whether a string identifies depends on that string alone, so that in all of them nothing is
        overlooked that would be found in one. `given`: ids drawn at random by us, and references to
        them. Chance may spell a short name in one: it is compared as a whole, no part of it.
        """
        strings, numbers = _contents_of_all(documents)
        strings -= self._allowed
        found = self._needles.wholly(strings & given)
        strings -= given
        strings -= self._passed
        found |= {text for text, rule in _Suspects(self._needles, strings).strings() if _own(rule)}
        if len(self._passed) < MOST_PASSED:  # a string is what it is wherever it stands
            self._passed.update(strings - found)
        judged = _judge_numbers(numbers, self._needles).items()
        return Identifying(frozenset(found), frozenset(text for text, rule in judged if _own(rule)))


@dataclass(frozen=True, slots=True, repr=False)
class Identifying:
    """The strings and numbers of a document that identify. False if there are none."""

    strings: frozenset[str]
    numbers: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.strings or self.numbers)

    def stands_in(self, document: bytes) -> bool:
        if b"\\" not in document and not any(text in document for text in self._written()):
            return False
        strings, numbers = _contents_of_all([document])
        return not (strings.isdisjoint(self.strings) and numbers.isdisjoint(self.numbers))

    def _written(self) -> Iterator[bytes]:
        """As they stand in a document that escapes nothing."""
        for text in chain(self.strings, self.numbers):
            yield text.encode("utf-8", "surrogatepass")


def _own(rule: str | None) -> bool:
    """Whether a hit is of a name or an identifier."""
    return rule is not None and rule.startswith(("name", "identifier"))


def _hits(document: bytes, needles: _Needles, allowed: Collection[str]) -> list[Hit]:
    """First what is in the document, each once; where, only if any of it is a hit."""
    strings, numbers = _contents_of_all([document])
    strings -= allowed if isinstance(allowed, Set) else set(allowed)
    found = _Found(_judge(strings, needles), _judge_numbers(numbers, needles))
    return found.where(document)


def _contents_of_all(documents: Sequence[bytes]) -> tuple[set[str], set[str]]:
    """The same of several, mostly without parsing them."""
    native = _native.contents(list(documents), _SEED) if _native is not None else None
    return native or _contents_of_members(documents)


def _contents_of_members(documents: Sequence[bytes]) -> tuple[set[str], set[str]]:
    """As long as no string holds a quotation mark or a comma, what stands between commas can be
    looked at by itself, and most of it repeats. Where that is not so, or anything stands outside
    strings that is no number and no mark of JSON's, they are parsed after all.
    """
    members = b",".join(set(b",".join(documents).split(b",")))
    parts = members.split(b'"')
    outside = b" ".join(set(parts[::2]))
    if b"\\" in members or not _quotes_pair(members) or _STRUCTURE.fullmatch(outside) is None:
        return _contents(b"[" + b",".join(documents) + b"]")
    numbers = {found.decode() for found in _NUMBER.findall(outside)}
    return {text.decode() for text in set(parts[1::2])}, numbers


def _quotes_pair(members: bytes) -> bool:
    """Whether each of these, between commas, holds an even number of quotation marks.

    Of quotation marks and commas alone, all pairs are taken out: an odd one would be left over.
    """
    return b'"' not in members.translate(None, _NO_FRAME).replace(b'""', b"")


def _contents(document: bytes) -> tuple[set[str], set[str]]:
    """The distinct strings and names of a document, and its numbers as they are written."""
    numbers: set[str] = set()
    tree = json.loads(document, parse_float=numbers.add, parse_int=numbers.add)
    return _strings(tree), numbers


def _strings(tree: Any) -> set[str]:
    """The distinct strings and names of a JSON value, in which numbers stand as nothing."""
    found: set[str] = set()
    values = [tree]
    while values:
        found.update([value for value in values if type(value) is str])
        objects = [value for value in values if type(value) is dict]
        found.update(*objects)
        arrays = [value for value in values if type(value) is list]
        inside = chain.from_iterable(map(dict.values, objects)), chain.from_iterable(arrays)
        values = list(filter(None, chain(*inside)))  # most of a twin is numbers
    return found


@dataclass(slots=True, repr=False)
class _Found:
    """Strings and numbers of the document that are hits, and where they stand."""

    strings: dict[str, str]  # → rule
    numbers: dict[str, str]
    hits: dict[Hit, None] = field(default_factory=dict)

    def where(self, document: bytes) -> list[Hit]:
        if self.strings or self.numbers:
            self.locate(json.loads(document, parse_float=_Number, parse_int=_Number), "")
        return list(self.hits)

    def locate(self, node: Any, path: str) -> None:
        kind = type(node)
        if kind is dict:
            for key, inner in node.items():
                self._hit(self.strings.get(key), path)
                self.locate(inner, self._named(key, path))
        elif kind is list:
            for inner in node:
                self.locate(inner, path)
        elif kind is _Number:
            self._hit(self.numbers.get(node), path)
        elif kind is str:
            self._hit(self.strings.get(node), path)

    def _named(self, key: str, path: str) -> str:
        """The path below a name: a name that is a hit itself, or an odd one, is not shown."""
        shown = "*" if key in self.strings or not _NAME.fullmatch(key) else key
        return f"{path}.{shown}" if path else shown

    def _hit(self, rule: str | None, path: str) -> None:
        if rule is not None:
            self.hits[Hit(path, rule)] = None


class _Number(str):
    """A number of the document, as it is written."""

    __slots__ = ()


def _judge(strings: set[str], needles: _Needles) -> dict[str, str]:
    """Those that are hits → the rule."""
    digests = {found[1]: text for text in strings if (found := _DIGEST.fullmatch(text))}
    texts = strings.difference(digests.values())
    suspects = _Suspects(needles, texts, digests.keys())
    rules = {digests[digits]: rule for digits, rule in suspects.digests()}
    rules |= {text: rule for text in texts if (rule := pattern_of(text))}
    return rules | dict(suspects.strings())


def _judge_numbers(numbers: Iterable[str], needles: _Needles) -> dict[str, str]:
    """Those that are hits → the rule. Most are too short for any."""
    long = [n for n in numbers if len(n) >= SHORTEST_NUMBER or "e" in n or "E" in n]
    return {text: rule for text in long if (rule := _judge_number(text, needles))}


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
