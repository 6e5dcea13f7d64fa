"""The rest of a twin in words: who, conditions, medicines, events, completeness, versions."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from service.pages import speech, words
from service.pages.times import TwinClock
from service.stores.twins import TwinVersion
from twin_engine.state import INDIRECT_SLICES

Json = Mapping[str, Any]
Namer = Callable[[str], str]
OUTSIDE = "outside-our-groups"
RECENT = 6  # encounters shown one by one


@dataclass(frozen=True, slots=True)
class Header:
    """Who the twin is of, as far as the policy tells, and how much of the record it holds."""

    pseudonym: str
    short: str
    version: int
    sex: str
    age: str
    deceased: str
    policy: str
    as_of: str
    complete: bool
    completeness: str


def header(document: Json) -> Header:
    twin, subject = document["twin"], document["subject"]
    whole, sentence = completeness(document)
    return Header(
        pseudonym=twin["id"],
        short=twin["id"][:6],
        version=twin["version"],
        sex=words.plain(subject["sex"]),
        age=words.age(subject),
        deceased=_deceased(document),
        policy=f"{twin['policy']['id']}, version {twin['policy']['version']}",
        as_of=AS_OF[twin["asOf"]],
        complete=whole,
        completeness=sentence,
    )


AS_OF = {
    "run": "the day the record was read",
    "record": "the day of the newest entry in the record",
    "stated": "a day the operator stated",
}


def _deceased(document: Json) -> str:
    subject = document["subject"]
    if not subject["deceased"]:
        return ""
    when = TwinClock.of(document).ago(
        subject.get("deceasedAt"), subject.get("deceasedPrecision", "day")
    )
    return f"Died {when}".strip() if when else "Died"


def completeness(document: Json) -> tuple[bool, str]:
    """Whether everything that was asked for was answered, in one sentence with what is missing."""
    asked = (s for s in document["completeness"]["slices"] if s["type"] not in INDIRECT_SLICES)
    gaps = [s for s in asked if s["verdict"] != "complete"]
    if not gaps:
        return True, "Everything that was asked for was answered."
    absent = [s for s in gaps if s.get("reason") == "not-supported"]
    lost = [s for s in gaps if s not in absent]
    parts = []
    if lost:
        parts.append(f"Not complete: {words.listed(_gap(s) for s in lost)}.")
    if absent:
        names = words.listed(words.word("type", s["type"]).lower() for s in absent)
        parts.append(f"Not offered by the server: {names}.")
    head = "" if lost else "Everything the server offers was answered. "
    return not lost, head + " ".join(parts)


def _gap(slice_: Json) -> str:
    reason = slice_.get("reason")
    why = f" ({words.word('shortfall', reason)})" if reason else ""
    return f"{words.word('type', slice_['type']).lower()}{why}"


@dataclass(frozen=True, slots=True)
class Slice:
    type: str
    title: str
    verdict: str
    reason: str
    complete: bool
    received: int
    announced: str
    pages: int
    dropped: str
    asked: Sequence[str]


def slices(document: Json) -> list[Slice]:
    return [
        Slice(
            type=s["type"],
            title=words.word("type", s["type"]),
            verdict=words.VERDICTS[s["verdict"]],
            reason=words.word("shortfall", s["reason"]) if "reason" in s else "",
            complete=s["verdict"] == "complete",
            received=s.get("matches", 0),
            announced=str(s.get("serverTotal", "")),
            pages=s.get("pages", 0),
            dropped=words.listed(
                f"{n} {words.plain(why).lower()}" for why, n in s.get("dropped", {}).items()
            ),
            asked=s.get("asked", ()),
        )
        for s in document["completeness"]["slices"]
    ]


# -- coded lists -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One line: what, in which state, when, the code it came under, and what explains it."""

    title: str
    state: str
    when: str
    code: str = ""
    active: bool = True
    concept: str = ""
    anchor: str = ""


def conditions(document: Json, name: Namer = words.condition) -> list[Item]:
    """Active ones first. One entry of the record may belong to several of our groups."""
    items = [_condition(group, document, name) for group in _by_source(document["conditions"])]
    return sorted(items, key=lambda item: not item.active)


def _condition(entries: Sequence[Json], document: Json, name: Namer) -> Item:
    first = entries[0]
    clinical = first.get("clinical", "")
    when = TwinClock.of(document).ago(first.get("onset"), first.get("onsetPrecision", "day"))
    return Item(
        title=_groups(entries, name),
        state=_joined(clinical, _unusual(first.get("verification", ""), "confirmed")),
        when=f"since {when}" if when else "",
        code=_code(first),
        active=clinical not in {"inactive", "remission", "resolved"},
        concept=_narrowest(entries),
        anchor=f"f-{first['src']}",
    )


def medications(document: Json) -> list[Item]:
    items = [_medication(entry, document) for entry in document["medications"]]
    return sorted(items, key=lambda item: not item.active)


def _medication(entry: Json, document: Json) -> Item:
    clock = TwinClock.of(document)
    names = [words.plain(name) for name in entry.get("ingredients", ())]
    classes = [words.medication(c) for c in entry.get("classes", ()) if not c.endswith("-any")]
    start = clock.ago(entry.get("start"), entry.get("startPrecision", "day"))
    end = clock.ago(entry.get("end"), entry.get("endPrecision", "day"))
    return Item(
        title=" with ".join(names) or words.listed(classes) or "A medicine outside our groups",
        state=_joined(
            entry.get("status", ""), words.taken(entry), words.listed(classes) if names else ""
        ),
        when=_joined(f"from {start}" if start else "", f"to {end}" if end else ""),
        code=_code(entry),
        active=entry.get("status") in {"active", "unknown", "on-hold", "intended"},
        concept=next(iter(entry.get("classes", ())), ""),
        anchor=f"f-{entry['src']}",
    )


def procedures(document: Json) -> list[Item]:
    clock = TwinClock.of(document)
    return [
        Item(
            title=_groups(entries, words.procedure),
            state=words.plain(entries[0].get("status", "")).lower(),
            when=clock.ago(entries[0].get("start"), entries[0].get("startPrecision", "day")),
            code=_code(entries[0]),
            concept=_narrowest(entries),
            anchor=f"f-{entries[0]['src']}",
        )
        for entries in _by_source(document["procedures"])
    ][::-1]


def imaging(document: Json) -> list[Item]:
    clock = TwinClock.of(document)
    return [_study(entry, clock) for entry in document["imaging"]][::-1]


def _study(entry: Json, clock: TwinClock) -> Item:
    modalities = words.listed(words.modality(m) for m in entry.get("modalities", ()))
    sites = {words.body_site(s["bodySite"]) for s in entry.get("series", ()) if "bodySite" in s}
    when = entry.get("t", entry.get("start"))
    how = {words.acquired(s["parameters"]) for s in entry.get("series", ()) if "parameters" in s}
    measured = {words.concept(one["concept"]) for one in entry.get("measurements", ())}
    return Item(
        title=modalities or "Study without a known modality",
        state=_joined(
            words.listed(sorted(sites)),
            words.plain(entry.get("status", "")).lower(),
            *sorted(how - {""}),
            f"measured: {words.listed(sorted(measured)).lower()}" if measured else "",
        ),
        when=clock.ago(when, entry.get("precision", entry.get("startPrecision", "day"))),
    )


def allergies(document: Json) -> list[Item]:
    return [
        Item(
            title=words.plain(entry.get("group") or entry.get("code") or "allergy"),
            state=_joined(entry.get("clinical", ""), entry.get("verification", "")),
            when="",
            code=_code(entry),
        )
        for entry in document["allergies"]
    ]


def vaccines(document: Json) -> list[Item]:
    """Newest first; what was declined or left out says so."""
    clock = TwinClock.of(document)
    found = sorted(document.get("immunizations", ()), key=lambda e: e.get("t", -(2**53)))
    return [_vaccine(entry, clock) for entry in reversed(found)]


def _vaccine(entry: Json, clock: TwinClock) -> Item:
    given = entry.get("status") != "not-done"
    targets = entry.get("against", ())
    return Item(
        title=words.listed(words.vaccine(one) for one in targets) or "A vaccine outside our lists",
        state=_joined("" if given else "not given", words.dose_of(entry).removeprefix(", ")),
        when=clock.ago(entry.get("t"), entry.get("precision", "day")),
        code=_code(entry),
        active=given,
        concept=next(iter(targets), ""),
        anchor=f"f-{entry['src']}",
    )


def family(document: Json) -> list[Item]:
    return [
        Item(
            title=_groups(entries, words.condition),
            state=words.word("relative", entries[0].get("relationship", "relative")),
            when=f"at age {entries[0]['onsetAge']}" if "onsetAge" in entries[0] else "",
        )
        for entries in _by_source(document["family"])
    ]


def genes(document: Json) -> list[Item]:
    """Diplotypes and phenotypes of pharmacogenes."""
    clock = TwinClock.of(document)
    return [
        Item(
            title=entry["gene"],
            state=_joined("/".join(entry.get("diplotype", ())), entry.get("phenotype", "")),
            when=clock.ago(entry["t"], entry.get("precision", "day")) if "t" in entry else "",
        )
        for entry in document["genomics"]
    ]


def answers(document: Json) -> list[Item]:
    """Coded answers, such as the smoking status: the newest of each."""
    clock = TwinClock.of(document)
    return [
        Item(
            title=words.plain(concept),
            state=words.plain(columns["code"][-1]).lower(),
            when=clock.ago(columns["t"][-1]),
            concept=concept,
            anchor=f"f-{columns['src'][-1]}",
        )
        for concept, columns in document["coded"].items()
    ]


@dataclass(frozen=True, slots=True)
class Encounters:
    """How many of which kind, and the latest few."""

    total: int
    kinds: Sequence[tuple[str, int]]
    latest: Sequence[Item]


def encounters(document: Json) -> Encounters:
    clock, entries = TwinClock.of(document), document["encounters"]
    kinds = Counter(words.word("encounter", e.get("kind", "other")) for e in entries)
    newest = sorted(entries, key=lambda e: e.get("start", 0), reverse=True)[:RECENT]
    latest = [
        Item(
            title=words.word("encounter", e.get("kind", "other")),
            state=words.plain(e.get("status", "")).lower(),
            when=clock.ago(e.get("start"), e.get("startPrecision", "day")),
        )
        for e in newest
    ]
    return Encounters(len(entries), kinds.most_common(), latest)


# -- quality and versions --------------------------------------------------------------------------


def quality(document: Json) -> list[str]:
    """What was done to values and what was left out, in sentences with counts."""
    found = document["quality"]
    conversions = sum(c["n"] for c in found["conversions"])
    unmapped = sum(u["n"] for u in found["unmapped"])
    lines = [
        (conversions, "value was converted to our unit", "values were converted to our unit"),
        (len(found["setAside"]), "value was set aside", "values were set aside"),
        (len(found["conflicts"]), "conflict between values", "conflicts between values"),
        (unmapped, "entry has a code outside our groups", "entries have codes outside our groups"),
        (found.get("codesRefused", 0), "code was malformed", "codes were malformed"),
        (
            sum(document["completeness"].get("notRead", {}).values()),
            "item is of a kind that is not read",
            "items are of kinds that are not read",
        ),
    ]
    return [words.counted(n, one, many) for n, one, many in lines if n]


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    made: str
    policy: str
    digest: str


def versions(found: Iterable[TwinVersion], today: datetime | None = None) -> list[Version]:
    now = today or datetime.now(UTC)
    return [Version(v.version, since(v.created, now), v.policy, v.digest) for v in found]


def since(moment: datetime, now: datetime) -> str:
    """How long ago by the reader's clock. Never a date: with the twin's `now` it would give all."""
    days = (now.date() - moment.date()).days
    if days > 1:
        return speech.text("small.ago", span=words.span(days))
    return speech.text("small.yesterday" if days == 1 else "small.today")


def changes(document: Json) -> str:
    """From version 2 on: how this version differs from the one before."""
    found = document.get("changes")
    if found is None:
        return ""
    counts = [(len(found["added"]), "added"), (len(found["corrected"]), "corrected")]
    counts += [
        (len(found["withdrawn"]), "withdrawn"),
        (len(found["notSeen"]), "not seen this time"),
    ]
    shown = [f"{n} {what}" for n, what in counts if n]
    return f"Since the version before: {words.listed(shown)}." if shown else ""


# -- pieces ----------------------------------------------------------------------------------------


def _by_source(entries: Iterable[Json]) -> Iterator[list[Json]]:
    groups: dict[Any, list[Json]] = {}
    for entry in entries:
        groups.setdefault(entry["src"], []).append(entry)
    yield from groups.values()


# Groups that hold others: named only where nothing narrower is known.
_WIDE = frozenset({"chd", "cvd-established", "vascular-disease", "diabetes-any", "ckd-any"})


def _groups(entries: Sequence[Json], name: Namer) -> str:
    """The narrowest group stands for the entry; its code stands beside it."""
    return name(_narrowest(entries) or OUTSIDE)


def _narrowest(entries: Sequence[Json]) -> str:
    own = [e["group"] for e in entries if e.get("group")]
    kept = [g for g in own if g not in _WIDE and not g.endswith("-any")] or own
    return kept[0] if kept else ""


def _code(entry: Json) -> str:
    return f"{entry['system']} {entry['code']}" if "code" in entry else ""


def _unusual(word: str, usual: str) -> str:
    return "" if word == usual else word


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
