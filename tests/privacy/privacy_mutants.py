"""Every way to weaken a policy by one rule, and whether the suite of planted secrets notices.

`tools/mutate-policies` tries them all and prints the report. A mutant is the shipped policy with
one line taken out, or with one verdict turned into one that lets more pass ("keep" and whatever
else fits the type), or with one setting loosened; or a table that belongs to it with one row taken
out. It is killed by the loader, if such a policy does not load, or by the suite: something that was
planted comes out.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch

from privacy_secrets import (
    EPOCH,
    NOW,
    POLICY,
    SECRETS,
    Planted,
    leaks,
    suite,
)

from privacy import geography, rarity
from privacy.deidentify import Deidentifier
from privacy.dicom.judge import NUMBERS
from privacy.dicom.tables import ATTRIBUTES
from privacy.elements import IN_SCOPE, lineage
from privacy.errors import PolicyError
from privacy.explain import leaves
from privacy.ledger import coarse_time
from privacy.policy import (
    FITS,
    Leaf,
    Policy,
    Verdict,
    judged_by,
    make_policy,
    misfit,
    read_policy,
    walk,
)
from privacy.pseudonyms import Pseudonyms
from privacy.rarity import RARE
from privacy.render import Renderer
from privacy.subject import SubjectContext

Table = dict[str, Any]
KINDS = tuple(sorted(IN_SCOPE))

# Verdicts that let more pass than another one does; "drop" is weaker than "refuse" alone.
EVERYTHING = frozenset(FITS) | {"keep"}
WEAKER: dict[str, frozenset[str]] = {
    "drop": EVERYTHING,
    "refuse": EVERYTHING | {"drop: mutant"},
    "age": frozenset({"keep"}),
    "labels": frozenset({"keep"}),
    "subject": frozenset({"about", "reference", "keep"}),
    "about": frozenset({"reference", "keep"}),
    "medication": frozenset({"keep"}),
    "reference": frozenset({"keep"}),
    "contained": frozenset({"keep"}),
    "birth": frozenset({"offset", "keep"}),
    "death": frozenset({"keep"}),
    "area": frozenset({"area-5", "keep"}),
}
# A flag is no more than the flag that the de-identifier adds, and a death no more than its day.
SAME = frozenset({("death", "boolean"), ("death", "offset")})
DICOM = ("number", "code", "present")
LOOSER: dict[str, tuple[tuple[str, Any], ...]] = {
    "time": (("unit", "min"), ("ledger", "second"), ("past-years", 150), ("future-days", 10**6)),
    "age": (("top", 125),),
    "codes": (("rare", "keep"),),
    "files": (("digits", 6), ("dates", "true")),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    what: str  # "removed", "turned", "loosened", "row"
    name: str
    kinds: tuple[str, ...]  # resource types that it may change
    change: Callable[[Table], None] | None = None
    row: tuple[str, Any] | None = None
    rule: tuple[str, str] = ("", "")
    verdict: str = ""
    base: str = ""  # of another policy than the default one


# Making them --------------------------------------------------------------------------------------


@cache
def kinds_of(section: str) -> tuple[str, ...]:
    """The resource types that a section of the policy judges anything of."""
    name = section.partition(".")[0]
    if name in IN_SCOPE:
        return (name,)
    if any(section in lineage(kind) for kind in KINDS):
        return KINDS
    return tuple(kind for kind in KINDS if section in _owners(kind))


@cache
def _owners(kind: str) -> frozenset[str]:
    found = {leaf.owner for leaf in walk(POLICY, kind, kind)}
    return frozenset(name for owner in found for name in lineage(owner))


def mutants(table: Table) -> Iterator[Mutant]:
    for section, keys in table["elements"].items():
        for key, text in keys.items():
            name, kinds = f"[{section}] {key}", kinds_of(section)
            yield Mutant("removed", name, kinds, _without(section, key))
            for verdict in sorted(weaker(text)):
                change = _turned(section, key, verdict)
                yield Mutant(
                    "turned", f"{name} → {verdict}", kinds, change, None, (section, key), verdict
                )
    yield from _dicom(table)
    for section, changes in LOOSER.items():
        for key, value in changes:
            yield Mutant("loosened", f"[{section}] {key}", KINDS, _set(section, key, value))
    for section, key, kinds in (
        ("time", "placeholders", ("Observation",)),
        ("age", "codes", ("Observation",)),
        ("age", "birth-codes", ("Observation",)),
    ):
        for value in table[section][key]:
            yield Mutant("loosened", f"[{section}] {value}", kinds, _less(section, key, value))
    yield from _rows()
    for verdict in sorted(weaker("area")):
        change = _turned("Patient", "address", verdict)
        yield Mutant("turned", f"date-shift [Patient] address → {verdict}", ("Patient",), change,
                     base="date-shift")  # fmt: skip


def weaker(text: str) -> frozenset[str]:
    action = text.partition(":")[0].strip()
    found = WEAKER.get(action, frozenset())
    return frozenset(v for v in found if v != action and (action, v) not in SAME)


def _dicom(table: Table) -> Iterator[Mutant]:
    for path, text in table["dicom"].items():
        yield Mutant("removed", f"[dicom] {path}", ("ImagingStudy",), _without_dicom(path))
        if text.partition(":")[0].strip() in {"compare", "fhir", "drop"}:
            for verdict in DICOM:
                change = _dicom_turned(path, verdict)
                yield Mutant("turned", f"[dicom] {path} → {verdict}", ("ImagingStudy",), change)


def _rows() -> Iterator[Mutant]:
    for row in RARE:
        yield Mutant("row", f"rare {row.system} {row.code}", ("Condition",), row=("rare", row))
    for prefix in small_prefixes():
        yield Mutant("row", f"small ZIP3 {prefix}", ("Patient",), row=("zip3", prefix))


@cache
def small_prefixes() -> tuple[str, ...]:
    rows = geography._rows("zip3.csv")
    return tuple(row["zip3"] for row in rows if row["zip3"] not in geography.LARGE)


def _without(section: str, key: str) -> Callable[[Table], None]:
    return lambda table: table["elements"][section].pop(key)


def _turned(section: str, key: str, verdict: str) -> Callable[[Table], None]:
    return lambda table: table["elements"][section].__setitem__(key, verdict)


def _without_dicom(path: str) -> Callable[[Table], None]:
    return lambda table: table["dicom"].pop(path)


def _dicom_turned(path: str, verdict: str) -> Callable[[Table], None]:
    return lambda table: table["dicom"].__setitem__(path, verdict)


def _set(section: str, key: str, value: Any) -> Callable[[Table], None]:
    return lambda table: table[section].__setitem__(key, value)


def _less(section: str, key: str, value: str) -> Callable[[Table], None]:
    return lambda table: table[section][key].remove(value)


# Trying them --------------------------------------------------------------------------------------


def killed_by(mutant: Mutant, table: Table) -> str:
    """ "loader", "suite", or nothing: it survives."""
    if mutant.row is not None:
        with ExitStack() as stack:
            _mutate_row(*mutant.row, stack)
            return "suite" if any(trouble(AREA, mutant.kinds)) else ""
    if mutant.verdict and misfit(Verdict.parse(mutant.verdict), _place(*mutant.rule)):
        return "loader"  # what the loader would say of it, without loading all the rest
    if mutant.base:
        table = read_policy(mutant.base)
    changed = {**table, **{name: copy.deepcopy(table[name]) for name in PARTS}}
    assert mutant.change is not None
    mutant.change(changed)
    try:
        policy = make_policy(changed)
    except PolicyError:
        return "loader"
    return "suite" if any(trouble(policy, mutant.kinds)) else ""


@cache
def _places() -> dict[tuple[str, str], Leaf]:
    return {judged_by(POLICY, leaf): leaf for leaf, _ in leaves(POLICY)}


def _place(section: str, key: str) -> Leaf:
    """One of the places that a rule judges."""
    return _places()[(section, key)]


PARTS = ("elements", "dicom", "time", "age", "codes", "files")
AREA = make_policy(read_policy("date-shift"))


def _mutate_row(kind: str, row: Any, stack: ExitStack) -> None:
    if kind == "rare":
        left = {key: parent for key, parent in rarity._BY_CODE.items() if key != row[0:3:2]}
        stack.enter_context(patch.object(rarity, "_BY_CODE", left))
    else:
        larger = {**geography.LARGE, row: 30_000}
        stack.enter_context(patch.object(geography, "LARGE", larger))


@cache
def planted(kind: str) -> tuple[Planted, ...]:
    return tuple(suite([kind]))


def trouble(policy: Policy, kinds: Sequence[str] = KINDS) -> Iterator[str]:
    """Whatever was planted and comes out under a policy; nothing for the shipped ones."""
    deidentifier = Deidentifier(policy, SECRETS)
    for kind in kinds:
        for one in planted(kind):
            yield from leaks(one, deidentifier)
    if "Patient" in kinds:
        yield from area_trouble(deidentifier)
    if "Observation" in kinds:
        yield from digit_trouble(deidentifier)
        yield from ledger_trouble(policy)
    if "ImagingStudy" in kinds:
        yield from dicom_trouble(deidentifier)


def _session(deidentifier: Deidentifier, series: Any = None) -> Any:
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": "1960-02-03"}
    context = SubjectContext.of(patient, epoch=EPOCH, now=NOW, pseudonym=Pseudonyms())
    return deidentifier.session(context, series)


def area_trouble(deidentifier: Deidentifier) -> Iterator[str]:
    """ZIP codes: three digits where enough people live, and never five but in a limited set."""
    if deidentifier.policy.id == "limited-data-set":
        return
    no_places = deidentifier.policy.id != AREA.id
    for prefix in (*small_prefixes(), "900"):
        address = {"country": "US", "state": "CA", "postalCode": f"{prefix}37"}
        record = _session(deidentifier).apply(
            {"resourceType": "Patient", "id": "p1", "address": [address]}
        )
        if no_places and "'CA'" in repr(record):
            yield "Patient.address: a place"
        if f"{prefix}37" in repr(record) or (prefix != "900" and f"'{prefix}'" in repr(record)):
            yield f"Patient.address: {prefix}"


def digit_trouble(deidentifier: Deidentifier) -> Iterator[str]:
    run = _session(deidentifier)
    record = run.apply({"resourceType": "Observation", "id": "o", "status": "final",
                        "subject": {"reference": "Patient/p1"},
                        "effectiveDateTime": "2019-03-04T10:11:12Z",
                        "valueQuantity": {"value": 7.654321987}})  # fmt: skip
    if isinstance(record, dict):
        made = repr(Renderer(run).resource(record))
        if "7.6543" in made:
            yield "Observation.valueQuantity: more digits than mean anything"
        if run.policy.id == "safe-harbor" and "2019-03" in made:
            yield "Observation.effectiveDateTime: finer than a year"


def ledger_trouble(policy: Policy) -> Iterator[str]:
    if policy.id == "safe-harbor":
        time = coarse_time(policy, datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
        if len(time) > 4:
            yield "the ledger tells the day"


def dicom_trouble(deidentifier: Deidentifier) -> Iterator[str]:
    """A data set with every attribute that the shipped policy judges. What it lets pass is there
    afterwards, and nothing else."""
    shipped = {path: verdict.action for path, verdict in POLICY.dicom.items()}
    dataset: Table = {}
    for path in shipped:
        _plant(dataset, path.split("."))
    run = _session(deidentifier, {"1.2.3": [dataset]})
    study = {"resourceType": "ImagingStudy", "id": "i", "status": "available",
             "subject": {"reference": "Patient/p1"}, "series": [{"uid": "1.2.3"}]}  # fmt: skip
    told = run.apply(study)["series"][0]["acquisition"]["values"]
    wanted = {path for path, action in shipped.items() if action in DICOM}
    yield from (f"dicom {path}" for path in told.keys() ^ wanted)


def _plant(dataset: Table, keywords: list[str]) -> None:
    attribute = ATTRIBUTES[keywords[0]]
    if len(keywords) == 1:
        word = min(attribute.words, default="x")
        number = attribute.vr in NUMBERS
        dataset[attribute.tag] = {"vr": attribute.vr, "Value": [1.5 if number else word]}
        return
    inner = dataset.setdefault(attribute.tag, {"vr": "SQ", "Value": [{}]})
    _plant(inner["Value"][0], keywords[1:])


# The report ---------------------------------------------------------------------------------------


@cache
def every() -> tuple[Table, list[Mutant]]:
    table = read_policy("safe-harbor")
    return table, list(mutants(table))


def try_all(workers: int = 2) -> list[tuple[Mutant, str]]:
    found = every()[1]
    with ProcessPoolExecutor(workers) as pool:
        return list(zip(found, pool.map(try_one, range(len(found)), chunksize=25), strict=True))


def try_one(place: int) -> str:
    """In a process of its own, where changes cannot be handed over but are made again."""
    table, found = every()
    return killed_by(found[place], table)


def report(tried: Sequence[tuple[Mutant, str]]) -> Iterator[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, killer in tried:
        counts[mutant.what][killer or "survived"] += 1
    row = "{:<24}{:>8}{:>8}{:>8}{:>10}".format
    yield row("mutants of the policies", "in all", "loader", "suite", "survived")
    for what, found in counts.items():
        yield row(what, found.total(), found["loader"], found["suite"], found["survived"])
    yield from (f"survived: {m.what} {m.name}" for m, killer in tried if not killer)
