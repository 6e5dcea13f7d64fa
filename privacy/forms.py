"""Lines of NDJSON of which the like was read before, without parsing them again.

An export holds some hundred forms of lines, each thousands of times: the same keys in the same
order, one code, one unit. `_apart` (in C) cuts out of a line what differs, ids, dates, numbers,
texts, and leaves a *residue*. A line with the residue of one that was parsed is that line with
other values in its places, and nothing else:

- the residue of a line that was parsed is remembered as a `Form`: the record that a plan made of
  it, without what came from the values; what the plan has counted; and which value goes where;
- the values of the next such line are judged as the plan judges them (`fill`). One that is not as
  expected leaves the line to be parsed, and to the rules.

A form can therefore only agree with the plan it was learned from, and a plan only with the rules;
`tests/privacy/test_privacy_forms.py` compares all three.

Forms are shared by all patients, so they may hold nothing of one. The strings in a residue are
codes, systems, units and statuses; a form is remembered only if each of them was judged, is known
to the guards, and is in the record, and if R4 has every name of an element. Of other residues a
number is kept that says nothing.

Where Twinport was installed without a C compiler there is no `_apart`: each line is parsed.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from privacy.elements import BASES, elements_of
from privacy.plans import (
    MEMORIES,
    ODD,
    REFERRING,
    NotPlanned,
    Odd,
    Planner,
    defined,
    number_check,
)
from privacy.policy import Leaf

try:
    from privacy import _apart
except ImportError:  # installed without a compiler
    _apart = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from privacy.deidentify import Session

FORMS = 1 << 12  # remembered for one policy; when they are full, all are learned anew
MET = 1 << 16  # residues met before: their numbers alone
TRIES = 8  # how often they are met without a form until they are taken to have none

Record = dict[str, Any]
Values = tuple[str | int | float, ...]
Path = tuple[str | int, ...]
Leaves = list[Any]  # what a record has of its own, in the order of a form's paths
# The records of some lines of one form.
Fill = Callable[[Iterable[Values], "Session", Record, tuple[int, ...]], list[Record]]
Pick = Callable[[Values], Values]  # of all that was cut out of a line, what is looked at
# The same without records.
Judge = Callable[[Iterable[Values], "Session", tuple[int, ...]], list[Leaves]]
Put = Callable[[Leaves, Record], Record]  # which this makes, where one is needed


class Written(NamedTuple):
    """Functions that were written for one order of places."""

    fill: Fill
    judge: Judge
    place: Put


# Of these more is told than the resource says: age, and how images were acquired.
_MORE = frozenset({"Patient", "ImagingStudy"})
_PLAIN = frozenset({"offset", "number", "pseudonym"})


class Form(NamedTuple):
    """What lines of one residue have in common. Nothing of any patient."""

    # `_apart` reads these two, so they stand first.
    wanted: bytes  # which of the values are looked at
    owner: int  # which of the wanted values says whose it is; -1 if none does
    fill: Fill
    record: Record
    counted: tuple[int, ...]  # bundles of the plan
    type: str
    name: int  # which of the leaves is the pseudonym of the record; -1 if it has none
    paths: tuple[Path, ...]
    judge: Judge
    place: Put
    pick: Pick


def _picker(wanted: list[int]) -> Pick:
    if len(wanted) > 1:
        return itemgetter(*wanted)
    return lambda values: tuple([values[at] for at in wanted])


class Cut(NamedTuple):
    """A place of the source whose value is cut out, or left in."""

    path: Path
    value: Any
    out: bool


class Place(NamedTuple):
    """Where a value goes, and what is done with it."""

    path: Path  # in the record
    action: str


class Apart(NamedTuple):
    """A line that was taken apart by whoever read it."""

    line: bytes
    residue: bytes
    values: Values


Found = tuple[Form, Values]
Group = tuple[Form, list[Values], list[int]]  # of lines of one form and owner; their places


class Forms:
    """The forms of one policy. Threads share it."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._known: dict[bytes, Form] = {}
        self._tree = None if _apart is None else _apart.tree()  # the same, to be found in
        self._met: dict[int, int] = {}  # how often before
        self._fills: dict[tuple[str, tuple[Place, ...]], Written] = {}

    def find(self, line: bytes) -> Found | None:
        """The form of a line, if it has a known one, and what is its own."""
        return None if _apart is None else _apart.find(self._tree, line)

    def groups(self, lines: Sequence[bytes]) -> tuple[list[Group], list[int]]:
        """The same of many, together what is of one form and one owner; and the places of those
        that have no form."""
        if _apart is None:
            return [], list(range(len(lines)))
        return _apart.groups(self._tree, tuple(lines))

    def of(self, residue: bytes) -> Form | None:
        """The form of all lines that leave this residue, if it is known."""
        return self._known.get(residue)

    def groups_apart(self, lines: Mapping[int, Apart]) -> tuple[list[Group], list[int]]:
        """The same of lines that were taken apart before, by their places."""
        alike: dict[bytes, list[int]] = defaultdict(list)
        for at, one in lines.items():
            alike[one.residue].append(at)
        groups: list[Group] = []
        others: list[int] = []
        for residue, places in alike.items():
            form = self._known.get(residue)
            if form is None:
                others += places
            else:
                values = [form.pick(lines[at].values) for at in places]
                groups += _by_owner(form, values, places)
        return groups, others

    def learn(self, line: bytes, source: Any, session: "Session") -> Record | None:
        """The record of a line that was parsed to `source`, if its form could be learned by it."""
        parts = None if _apart is None else _apart.apart(line)
        if parts is None:
            return None
        mark = hash(parts[0])
        if not self._is_worth_it(mark):
            return None
        done, start = session.done, len(session.done)
        try:
            return self._learned(*parts, source, session)
        except NotPlanned:
            self._met[mark] = TRIES  # it has none
        except ODD:
            pass  # of these values nothing can be learned; of the next perhaps
        del done[start:]
        return None

    def _is_worth_it(self, mark: int) -> bool:
        """What is met once, a note for instance, is not, nor what was tried in vain."""
        times = self._met.get(mark, -1) + 1
        if times == 0 and len(self._met) >= MET:
            self._met.clear()
        self._met[mark] = min(times, TRIES)
        return 0 < times < TRIES

    def _learned(self, residue: bytes, values: Values, source: Any, session: "Session") -> Record:
        cuts = list(cuts_of(source))
        _require_same(residue, values, source, cuts)
        kind = source["resourceType"]
        start = len(session.done)
        record = self._planned(kind, source, session)
        counted = tuple(session.done[start:])
        judge = _Judge(self._planner, kind, source, record)
        out = [cut for cut in cuts if cut.out]
        judge.require_kept(cut.path for cut in cuts if not cut.out)
        wanted = [(at, found) for at, cut in enumerate(out) if (found := judge.place(cut))]
        places = [place for _, place in wanted]
        functions = self._written(kind, tuple(places))
        paths = tuple(place.path for place in places)
        form = Form(
            bytes(at for at, _ in wanted),
            _owner(places, source),
            functions.fill,
            blank(record, places),
            counted,
            kind,
            paths.index(("id",)) if ("id",) in paths else -1,
            paths,
            functions.judge,
            functions.place,
            _picker([at for at, _ in wanted]),
        )
        self._remember(residue, form)
        return record

    def _remember(self, residue: bytes, form: Form) -> None:
        if len(self._known) >= FORMS:
            self._known.clear()
            self._met.clear()
            self._tree = _apart.tree()
        self._known[residue] = form
        _apart.plant(self._tree, residue, form)

    def _planned(self, kind: str, source: Any, session: "Session") -> Record:
        plans = self._planner.whole.get(kind)
        plan = plans[tuple(source)] if plans is not None else None
        if plan is None or plan in self._planner.asking or kind in _MORE:
            raise NotPlanned
        record: Record = plan(source, session, session.done)
        return record

    def _written(self, kind: str, places: tuple[Place, ...]) -> Written:
        found = self._fills.get((kind, places))
        if found is None:
            if len(self._fills) >= FORMS:
                self._fills.clear()
            found = self._fills[(kind, places)] = written(kind, places)
        return found


def _by_owner(form: Form, values: list[Values], places: list[int]) -> Iterator[Group]:
    owner = form.owner
    if owner < 0 or all(one[owner] == values[0][owner] for one in values):  # nearly always
        yield form, values, places
        return
    for one, at in zip(values, places, strict=True):
        yield form, [one], [at]


# Learning -----------------------------------------------------------------------------------------


def cuts_of(source: Any) -> Iterator[Cut]:
    """Every string and number, in order, and whether `apart` cuts it out."""
    return _cuts(source, (), False, False)


def _cuts(node: Any, path: Path, repeats: bool, below: bool) -> Iterator[Cut]:
    if type(node) is dict:
        for key, value in node.items():
            apart_from_here = below or key in _apart.BY_THEMSELVES
            yield from _cuts(
                value,
                (*path, key),
                key in _apart.REPEATING and not apart_from_here,
                apart_from_here,
            )
    elif type(node) is list:
        for at, value in enumerate(node):
            yield from _cuts(value, (*path, at), repeats, below)
    elif type(node) is str:
        yield Cut(path, node, not repeats)
    elif type(node) in {int, float}:
        yield Cut(path, node, True)


def _require_same(residue: bytes, values: Values, source: Any, cuts: Collection[Cut]) -> None:
    """That what was parsed is what was cut out, under published names, and that parsing has lost
    nothing: of a key that stands twice, a parser keeps one."""
    out = [cut.value for cut in cuts if cut.out]
    names = list(_names_in(source))
    same = out == list(values) and list(map(type, out)) == list(map(type, values))
    if not same or residue.count(b'":') != len(names) or not published().issuperset(names):
        raise NotPlanned


def _names_in(node: Any) -> Iterator[str]:
    if type(node) is dict:
        yield from node
    for inner in node.values() if type(node) is dict else node if type(node) is list else ():
        yield from _names_in(inner)


@cache
def published() -> frozenset[str]:
    """Names of elements: others may name a person, even where all below them is dropped."""
    names = {key for owner in BASES for key in elements_of(owner)}
    return frozenset(names | {"_" + name for name in names} | {"resourceType"})


def _owner(places: list[Place], source: Any) -> int:
    """What a resource is about comes first; `service.deidentify.people` looks there as well, and so
    at what is dropped: then only a parsed resource tells."""
    paths = [place.path for place in places if place.action in {"own", "told"}]
    for element in ("subject", "patient"):
        if (element,) in paths:
            return next(at for at, place in enumerate(places) if place.path == (element,))
        if element in source:
            raise NotPlanned
    return -1


class _Judge:
    """What the policy says of the values of one source, given the record a plan has made of it."""

    def __init__(self, planner: Planner, kind: str, source: Any, record: Record) -> None:
        self._verdict = planner.compiler.verdict
        self._kind = kind
        self._source: Any = source
        self._record: Any = record

    def place(self, cut: Cut) -> Place | None:
        """Of a value of which nothing is kept, none."""
        action, path = self._action(cut.path)
        if action == "drop":
            return None
        if self._kept(path) is None:
            raise NotPlanned
        return Place(path, action)

    def require_kept(self, paths: Iterable[Path]) -> None:
        """What stays in a residue is in the record, and so the guards know it."""
        if any(self._kept(path) is None for path in paths):
            raise NotPlanned

    def _action(self, path: Path) -> tuple[str, Path]:
        """What is done with the value at this path, and where the outcome is."""
        at = owner = self._kind
        for step, key in enumerate(path):
            if type(key) is int:
                continue
            name = str(key)
            if name.startswith("_"):
                return "drop", ()
            leaf = Leaf(at, owner, name, elements_of(owner)[name])
            action = self._verdict(at, owner, name).action
            if action in REFERRING:
                return self._reference(action, path, step)
            if action != "keep":
                return self._last(action, path, step)
            at, owner = leaf.path, leaf.inner_owner
        raise NotPlanned

    def _last(self, action: str, path: Path, step: int) -> tuple[str, Path]:
        if action == "drop" or (action in _PLAIN and step == len(path) - 1):
            return action, path
        raise NotPlanned

    def _reference(self, action: str, path: Path, step: int) -> tuple[str, Path]:
        """Plans take references with a display and nothing else."""
        if path[-1] != "reference":
            return "drop", ()
        return "told" if action == "reference" else "own", path[:-1]

    def _kept(self, path: Path) -> Any:
        """What stands there in the record: of lists from which nothing was taken out."""
        source, record = self._source, self._record
        for key in path:
            if type(source) is list and len(source) != len(record):
                return None
            source, record = source[key], _step(record, key)
            if record is None:
                return None
        return record


def _step(node: Any, key: Any) -> Any:
    return node[key] if type(node) is list else node.get(key)


def blank(record: Record, places: Iterable[Place]) -> Record:
    """The record without what came from the values, everything around it copied."""
    made = record.copy()
    for place in places:
        node: Any = made
        for key in place.path[:-1]:
            node[key] = node[key].copy()
            node = node[key]
        node[place.path[-1]] = None
    return made


# Filling in ---------------------------------------------------------------------------------------


def written(kind: str, places: Collection[Place]) -> Written:
    """The functions that judge the values of lines and fill in records, line by line."""
    found = list(enumerate(places))
    leaves = "".join(f"v{at}, " for at, _ in found)
    judged, placed = _judging(found), _placing(found)
    named = [at for at, place in found if place.action == "pseudonym"]
    begun = [f"{name} = session.{name}" for name in MEMORIES if name in "".join(judged)]
    begun += ["made = []", f"for {leaves or '_'} in some:"]
    ended = ["session.note(counted * len(made))", "return made"]
    text = [
        "def fill(some, session, record, counted):",
        *["pseudonym = session.pseudonym", *begun],
        *_inside(*judged, *_named(kind, named), *placed, "made.append(kept)"),
        *ended,
        "def judge(some, session, counted):",
        *begun,
        *_inside(*judged, f"made.append([{leaves}])"),
        *_named_together(kind, named),
        *ended,
        "def place(leaves, record):",
        *[f"{leaves or '_'} = leaves", *placed, "return kept"],
    ]
    lines = [line if line.startswith("def ") else f"    {line}" for line in text]
    made = defined("\n".join(lines), f"form {kind}", {"Odd": Odd})
    return Written(made["fill"], made["judge"], made["place"])


def _judging(found: list[tuple[int, Place]]) -> list[str]:
    checks: list[str] = []
    made: list[str] = []
    for at, place in found:
        check, text = _FILLED[place.action]
        checks += [check(f"v{at}")] if check else []
        made += [f"v{at} = {text.format(value=f'v{at}')}"] if text else []
    return [*checks, *made]


def _inside(*lines: str) -> list[str]:
    return [f"    {line}" for line in lines]


def _named(kind: str, named: Iterable[int]) -> list[str]:
    """A pseudonym is drawn only when all else was as expected: of the line."""
    return [f"v{at} = pseudonym({kind!r}, v{at})" for at in named]


def _named_together(kind: str, named: Iterable[int]) -> list[str]:
    """Of all the lines."""
    lines: list[str] = []
    for at in named:
        lines += [
            f"names = session.pseudonyms({kind!r}, [leaves[{at}] for leaves in made])",
            f"for leaves, name in zip(made, names): leaves[{at}] = name",
        ]
    return lines


def _placing(found: list[tuple[int, Place]]) -> list[str]:
    lines = ["kept = record.copy()"]
    holders: dict[Path, str] = {(): "kept"}
    for at, place in found:
        holder = _holder(place.path[:-1], holders, lines)
        lines.append(f"{holder}[{place.path[-1]!r}] = v{at}")
    return lines


# How a value is checked before anything is done, and what is made of it.
_FILLED: dict[str, tuple[Callable[[str], str] | None, str]] = {
    "number": (number_check, "{value}"),
    "offset": (None, "times.get({value}) or session.time({value})"),
    "own": (None, "own_texts.get({value}) or session.own({value})"),
    "told": (None, "told_texts.get({value}) or session.told({value})"),
    "pseudonym": ("if not {}: raise Odd".format, ""),
}


def _holder(path: Path, holders: dict[Path, str], kept: list[str]) -> str:
    """The name of a copy of the object or list at this path, made once."""
    if path not in holders:
        above, name = _holder(path[:-1], holders, kept), f"h{len(holders)}"
        kept.append(f"{name} = {above}[{path[-1]!r}] = {above}[{path[-1]!r}].copy()")
        holders[path] = name
    return holders[path]
