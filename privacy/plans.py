"""Straight-line Python for the resources that are as expected; the rules for all others.

Resources of one system look alike: the same keys in the same order, a known code, a known unit, a
date that can be read. For each such *shape* (the keys of one object at one path) a function is
generated from the same verdicts that the rules are compiled from, once, and remembered:

    plan = plans[tuple(source)]

Whatever is not exactly as expected (another type, an unknown key, an age code, a second coding, a
date out of range) ends a plan with `ODD`: what it has counted is taken back, and the rules of
`compile.py` judge the whole resource from the start. A plan can therefore only agree with the
rules; `tests/privacy/test_privacy_plans.py` compares the two.

What repeats from record to record (codes, units, a status, which keys a part has) makes one key
together. What is kept and what is counted for it is judged once: the beginning of a record, which
is copied and filled in, and the number of a *bundle* of slots, which is noted in `done` and
multiplied out by `Session.add_up`. Its parts are shared between records, as times and references
are: records are read, never written to.
"""

from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from privacy.compile import LARGEST, Compiler, Rule
from privacy.elements import elements_of
from privacy.policy import Leaf, Verdict, require_verdict

if TYPE_CHECKING:
    from privacy.deidentify import Session

Shape = tuple[str, ...]
Noted = list[int]
Plan = Callable[[Any, "Session", Noted], Any]
Key = tuple[Any, ...]
Judged = tuple[Any, list[int]]  # what is kept, and the slots that are counted
Judge = Callable[[Key], Judged]
Made = TypeVar("Made")

SHAPES = 64  # remembered at one path
UNKNOWN = "drop:unknown-code"
BUNDLES = 1 << 13  # plans and variants in all; whatever comes later is judged by the rules
MANY = 1 << 10  # notes taken before they are added up
CACHE = 1 << 12  # keys remembered for one plan, or for a part; a full cache starts again


class Odd(ValueError):  # noqa: N818 - an answer, not an error
    """Not as expected: for the rules to judge. Carries nothing."""


ODD = (Odd, TypeError, KeyError, ValueError, AttributeError)


class NotPlanned(Odd):
    """A shape that only the rules can judge."""


class Planner:
    """Generates and remembers the plans of one compiled policy. Threads share it; it only grows."""

    def __init__(self, compiler: Compiler) -> None:
        self.compiler = compiler
        self.bundles: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self.sources: dict[str, str] = {}  # what was generated, to be read
        self.whole: dict[str, Plans[Plan]] = {}  # by type of resource
        self.asking: set[Plan] = set()  # plans that ask a rule, which may count what it likes
        self._lock = Lock()

    def resource(self, name: str, careful: Rule) -> Rule:
        """The plan for the shape of a resource; the rules for whatever has none."""
        keys = keys_of(name) | {"resourceType"}
        plans = self.whole[name] = Plans(lambda shape: Writer(self, name, name, shape).plan(), keys)

        def apply(source: Any, session: "Session") -> Any:
            plan = plans[tuple(source)]
            if plan is not None:
                done = session.done
                start = len(done)
                if start > MANY:
                    session.add_up()
                    start = 0
                try:
                    return plan(source, session, done)
                except ODD:
                    del done[start:]
            return careful(source, session)

        return apply

    def nested(self, path: str, owner: str) -> Plan:
        """The plan of an object inside a resource."""
        plans = Plans(lambda shape: Writer(self, path, owner, shape).plan(), keys_of(owner))

        def apply(source: Any, session: "Session", done: Noted) -> Any:
            plan = plans[tuple(source)] if type(source) is dict else None
            if plan is None:
                raise Odd
            return plan(source, session, done)

        return apply

    def counted(self, path: str, owner: str) -> "Plans[list[int]] | None":
        """What each shape of an object counts of which nothing is kept; None if anything is."""
        actions = {self.compiler.verdict(path, owner, key).action for key in elements_of(owner)}
        if actions & KEEPING:
            return None
        return Plans(lambda shape: Writer(self, path, owner, shape).counted(), keys_of(owner))

    # Counting -------------------------------------------------------------------------------------

    def bundle(self, slots: Collection[int]) -> int:
        wanted = tuple(slots)
        with self._lock:
            if wanted not in self._numbers:
                if len(self.bundles) >= BUNDLES:
                    raise NotPlanned
                self._numbers[wanted] = len(self.bundles)
                self.bundles.append(wanted)
            return self._numbers[wanted]

    def slot(self, path: str, action: str) -> int:
        """A slot that the rules have: a plan cannot count what they would not."""
        return self.compiler.existing_slot(path, action)

    def references(self, path: str, action: str) -> Plan:
        """The plan of a list of references: each of them counts."""
        judge = self.reference(path, action)
        numbers = {keys: self.bundle(judge((keys,))[1]) for keys in (ALONE, DISPLAYED)}

        def apply(source: Any, session: "Session", done: Noted) -> Any:
            if type(source) is not list or not source:
                raise Odd
            find = session.told if action == "reference" else session.own
            kept = [find(item["reference"]) for item in source]
            done += [numbers[2 * len(item) + ("display" in item)] for item in source]
            return kept

        return apply

    # Parts of a key: what repeats, judged once ----------------------------------------------------

    def reference(self, path: str, action: str) -> Judge:
        """Judges a reference by the number of its keys. Its text is a matter of the session."""
        one, display = self.slot(path, action), self.slot(f"{path}.display", "drop")
        known = {ALONE: [one], DISPLAYED: [one, display]}
        return lambda key: (None, known[key[0]])

    def code(self, path: str, codes: Collection[str]) -> Judge:
        slots = [self.slot(path, "code")]

        def judge(key: Key) -> Judged:
            if key[0] not in codes:
                raise Odd
            return key[0], slots

        return judge

    def coding(self, path: str, text: str | None, as_list: bool) -> Judge:
        """Judges `(system, code, display?, keys, text?, keys)`; `text` names a concept's text."""

        def slots(display: bool, texted: bool, action: str) -> list[int]:
            found = [self.slot(path, action)]
            found += [self.slot(f"{path}.display", "drop")] if display else []
            if text is not None and action == UNKNOWN:
                found.append(self.slot(text.removesuffix(".text"), "drop:uncoded"))
            return found + ([self.slot(str(text), "drop")] if texted else [])

        def judge(key: Key) -> Judged:
            system, code, display, keys, texted, outer = key
            known = self.compiler.known(system, code)
            if keys != 2 + display or outer != 1 + texted or (known and known.special):
                raise Odd
            if known is None:
                return None, slots(display, texted, UNKNOWN)
            kept: Any = {"system": known.system, "code": known.code}
            kept = kept if text is None else {"coding": [kept]}
            return [kept] if as_list else kept, slots(display, texted, known.action)

        return judge

    def unit(self, path: str) -> Judge:
        """Judges `(unit, system, code, keys)` of a quantity that holds a value and these alone."""
        judge_unit = self.compiler.unit_judge(path)

        def judge(key: Key) -> Judged:
            names = ("unit", "system", "code")
            given = {name: key[place] for place, name in enumerate(names) if key[place] is not None}
            parts, years = judge_unit(*key[:3])
            if parts != given or years or key[3] != 1 + len(given):
                raise Odd
            slots = [self.slot(f"{path}.value", "number")]
            slots += [self.slot(f"{path}.unit", "unit")] if "unit" in given else []
            slots += [self.slot(f"{path}.code", "unit-code")] if "code" in given else []
            return {"value": None, **parts}, slots

        return judge


class Part(NamedTuple):
    """A part of the key of a plan: what repeats of one element."""

    name: str  # of the element
    size: int
    judge: Judge
    kept: bool  # whether anything of it may be in the record


def shapes(counted: "Plans[list[int]]") -> Judge:
    """Judges the keys of an object of which nothing is kept."""

    def judge(key: Key) -> Judged:
        slots = counted[key[0]]
        if slots is None:
            raise Odd
        return None, slots

    return judge


class Together:
    """All parts of the key of one plan, judged together, and remembered."""

    def __init__(
        self, planner: Planner, record: Mapping[str, Any], slots: list[int], parts: list[Part]
    ) -> None:
        self.memo: dict[Key, tuple[int, dict[str, Any]]] = {}
        self._planner, self._record, self._slots, self._parts = planner, record, slots, parts
        self._known: dict[tuple[str, Key], Judged] = {}

    def learn(self, key: Key) -> tuple[int, dict[str, Any]]:
        """The number of what is counted, and the record to begin with."""
        record, slots, start, lasting = dict(self._record), list(self._slots), 0, True
        for part in self._parts:
            kept, counted = self._judged(part, key[start : start + part.size])
            start += part.size
            slots += counted
            if kept is not None:
                record[part.name] = kept
            elif part.kept:
                del record[part.name]
                lasting = False  # a code that may say who somebody is: never remembered
        found = self._planner.bundle(slots), record
        return remember(self.memo, key, found) if lasting else found

    def _judged(self, part: Part, key: Key) -> Judged:
        found = self._known.get((part.name, key))
        if found is None:
            found = part.judge(key)
            if found[0] is not None:
                remember(self._known, (part.name, key), found)
        return found


class Plans(dict[Shape, Made | None]):
    """By shape; made when it is first met. Only shapes whose keys are all published ones stay."""

    def __init__(self, make: Callable[[Shape], Made], keys: Collection[str]) -> None:
        super().__init__()
        self._make, self._keys = make, frozenset(keys)

    def __missing__(self, shape: Shape) -> Made | None:
        if len(self) >= SHAPES or not self._keys.issuperset(shape):
            return None
        try:
            made: Made | None = self._make(shape)
        except NotPlanned:
            made = None
        return self.setdefault(shape, made)


def keys_of(owner: str) -> set[str]:
    return set(elements_of(owner)) | {"_" + key for key in elements_of(owner)}


def remember(memo: dict[Any, Made], key: Any, found: Made) -> Made:
    if len(memo) >= CACHE:
        memo.clear()
    memo[key] = found
    return found


def defined(text: str, label: str, names: dict[str, Any]) -> dict[str, Any]:
    """What a text of ours defines, which may use these names."""
    exec(compile(text, f"<{label}>", "exec"), names)  # noqa: S102
    return names


class Writer:
    """Writes the function for one shape, line by line."""

    def __init__(self, planner: Planner, path: str, owner: str, shape: Shape) -> None:
        self.planner, self.path, self.owner, self.shape = planner, path, owner, shape
        self.whole = "." not in path
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"Odd": Odd}
        self.slots: list[int] = []  # counted for every object of this shape
        self.record: dict[str, Any] = {}  # what is kept, in order; None for what differs
        self.parts: list[Part] = []  # what is kept of it is the same for the same key
        self.key_parts: list[str] = []
        self.kept: list[str] = []  # fills in the record
        self.perhaps: list[tuple[str, str]] = []  # entries kept unless nothing is left of them
        self.last: list[str] = []  # counts, draws: only when all else was as expected
        self.asks = False

    def plan(self) -> Plan:
        self.keys()
        head = f"def plan(source, session, done):  # {self.path}: {', '.join(self.shape)}"
        text = "\n    ".join([head, *self.opening(), *self.lines, *self.ending()])
        plan: Plan = defined(text, f"plan {self.path}", self.names)["plan"]
        self.planner.sources[f"{self.path} {' '.join(self.shape)}"] = text
        if self.asks:
            self.planner.asking.add(plan)
        return plan

    def counted(self) -> list[int]:
        """What is counted of an object of which nothing is kept."""
        self.keys()
        return self.slots

    def keys(self) -> None:
        for position, key in enumerate(self.shape):
            self.key(key, f"v{position}")

    def opening(self) -> list[str]:
        """The values, all at once, in the order of the shape; and what the session remembers."""
        values = "".join(f"v{position}, " for position in range(len(self.shape)))
        written = "".join([*self.lines, *self.kept])
        used = [name for name in MEMORIES if f"{name}.get" in written]
        taken = [f"{values}= source.values()"] if self.shape else []
        return [*taken, *(f"{name} = session.{name}" for name in used)]

    def ending(self) -> list[str]:
        """To copy a record and fill it in is quicker than to make it key by key."""
        kept = [f"if {name} is not None: kept[{key!r}] = {name}" for key, name in self.perhaps]
        answer = f"return kept{'' if self.whole else ' or None'}"
        return [*self.beginning(), *self.kept, *kept, *self.last, "done.append(number)", answer]

    def beginning(self) -> list[str]:
        together = Together(self.planner, self.record, self.slots, self.parts)
        if not self.parts:
            number, self.names["_record"] = together.learn(())
            return [f"number, kept = {number}, _record.copy()"]
        self.names |= {"_memo": together.memo, "_learn": together.learn}
        return [
            f"key = ({', '.join(self.key_parts)},)",
            "number, kept = _memo.get(key) or _learn(key)",
            "kept = kept.copy()",
        ]

    # One key --------------------------------------------------------------------------------------

    def key(self, key: str, name: str) -> None:
        if key == "resourceType":
            self.record[key] = self.path
            return
        if key.startswith("_"):
            self.slots.append(self.planner.slot(f"{self.path}.{key}", "drop:primitive-extension"))
            return
        leaf = Leaf(self.path, self.owner, key, elements_of(self.owner)[key])
        self.judge(leaf, require_verdict(self.planner.compiler.policy, leaf), name)

    def judge(self, leaf: Leaf, verdict: Verdict, name: str) -> None:
        action = verdict.action
        if action == "drop" and leaf.element.type != "Extension":
            self.slots.append(self.planner.slot(leaf.path, "drop"))
        elif action in {"drop", "contained"}:  # a rule that only counts, so it has to come last
            if not self.whole:
                raise NotPlanned
            rule = self.planner.compiler.leaf(leaf, verdict)
            self.asks = True
            self.last.append(f"{self.give(name, rule)}({name}, session)")
        elif action == "keep":
            self.keep(leaf, name)
        elif action in REFERRING:
            self.reference(leaf, action, name)
        elif leaf.element.is_list or action not in {"code", *PLAIN}:
            raise NotPlanned
        elif action == "code":
            self.part(leaf, self.planner.code(leaf.path, leaf.element.codes), name)
        else:
            self.slots.append(self.planner.slot(leaf.path, action))
            PLAIN[action](self, leaf, name)

    def only(self, leaf: Leaf, name: str) -> None:
        """The only item, where the element repeats. Of an object or a string that would be a
        string, which has no keys: the next line ends it."""
        if leaf.element.is_list:
            self.lines.append(f"[{name}] = {name}")

    def give(self, name: str, value: Any) -> str:
        """Make an object of ours known to the generated text."""
        self.names[f"_{name}"] = value
        return f"_{name}"

    def always(self, leaf: Leaf, text: str) -> None:
        self.record[leaf.key] = None
        self.kept.append(f"kept[{leaf.key!r}] = {text}")

    def part(self, leaf: Leaf, judge: Judge, *key: str, kept: bool = True) -> None:
        """What is the same wherever these values are."""
        if kept:
            self.record[leaf.key] = None
        self.parts.append(Part(leaf.key, len(key), judge, kept))
        self.key_parts += key

    # Plain values ---------------------------------------------------------------------------------

    def boolean(self, leaf: Leaf, name: str) -> None:
        self.lines.append(f"if {name} is not True and {name} is not False: raise Odd")
        self.always(leaf, name)

    def decimal(self, leaf: Leaf, name: str) -> None:
        self.lines.append(number_check(name))
        self.always(leaf, name)

    def pseudonym(self, leaf: Leaf, name: str) -> None:
        self.lines.append(f"if type({name}) is not str or not {name}: raise Odd")
        self.record[leaf.key] = None
        drawn = f"session.pseudonym({self.path.partition('.')[0]!r}, {name})"
        self.last.append(f"kept[{leaf.key!r}] = {drawn}")

    def offset(self, leaf: Leaf, name: str) -> None:
        self.always(leaf, f"times.get({name}) or session.time({name})")

    def life(self, leaf: Leaf, name: str) -> None:
        """Counted; the session has read it."""

    # What is made of several keys -----------------------------------------------------------------

    def reference(self, leaf: Leaf, action: str, name: str) -> None:
        path = leaf.path
        if leaf.element.is_list:
            find = self.give(name, self.planner.references(path, action))
            self.always(leaf, f"{find}({name}, session, done)")
            return
        text, kind = f"{name}['reference']", "told" if action == "reference" else "own"
        self.always(leaf, f"{kind}_texts.get({text}) or session.{kind}({text})")
        judge = self.planner.reference(path, action)
        self.part(leaf, judge, f"2 * len({name}) + ('display' in {name})", kept=False)

    def keep(self, leaf: Leaf, name: str) -> None:
        owner = leaf.inner_owner
        if owner == "CodeableConcept":
            self.concept(leaf, name)
        elif owner == "Coding":
            self.coding(leaf, name)
        elif owner == "Quantity" and not leaf.element.is_list:
            self.quantity(leaf, name)
        elif owner != "Quantity":
            self.object(leaf, owner, name)
        else:
            raise NotPlanned

    def concept(self, leaf: Leaf, name: str) -> None:
        self.require(leaf.path, "CodeableConcept", {"coding": "keep", "text": "drop"})
        self.only(leaf, name)
        self.lines.append(f"[c{name}] = {name}['coding']")
        text = f"{leaf.path}.text"
        outer = (f"'text' in {name}", f"len({name})")
        self.codes(leaf, f"{leaf.path}.coding", f"c{name}", text, outer)

    def coding(self, leaf: Leaf, name: str) -> None:
        self.only(leaf, name)
        self.codes(leaf, leaf.path, name, None, ("False", "1"))

    def codes(
        self, leaf: Leaf, path: str, name: str, text: str | None, outer: tuple[str, str]
    ) -> None:
        self.require(
            path, "Coding", {"system": "code-system", "code": "known-code", "display": "drop"}
        )
        judge = self.planner.coding(path, text, leaf.element.is_list)
        keys = (f"{name}['system']", f"{name}['code']", f"'display' in {name}", f"len({name})")
        self.part(leaf, judge, *keys, *outer)

    def quantity(self, leaf: Leaf, name: str) -> None:
        self.require(
            leaf.path,
            "Quantity",
            {"value": "number", "unit": "unit", "system": "unit-system", "code": "unit-code"},
        )
        self.lines += [f"x{name} = {name}['value']", number_check(f"x{name}")]
        keys = [f"{name}.get({key!r})" for key in ("unit", "system", "code")]
        self.part(leaf, self.planner.unit(leaf.path), *keys, f"len({name})")
        self.kept += [
            f"kept[{leaf.key!r}] = {name} = kept[{leaf.key!r}].copy()",
            f"{name}['value'] = x{name}",
        ]

    def object(self, leaf: Leaf, owner: str, name: str) -> None:
        counted = None if leaf.element.is_list else self.planner.counted(leaf.path, owner)
        if counted is not None:
            self.lines.append(f"if type({name}) is not dict: raise Odd")
            self.part(leaf, shapes(counted), f"tuple({name})", kept=False)
            return
        inner = self.give(name, self.planner.nested(leaf.path, owner))
        if leaf.element.is_list:
            self.lines += [
                f"if type({name}) is not list: raise Odd",
                f"{name} = [{inner}(item, session, done) for item in {name}]",
                f"{name} = [item for item in {name} if item is not None] or None",
            ]
        else:
            self.lines.append(f"{name} = {inner}({name}, session, done)")
        self.perhaps.append((leaf.key, name))

    def require(self, path: str, owner: str, wanted: dict[str, str]) -> None:
        """Where a policy judges a part of a datatype otherwise, the rules have to."""
        verdict = self.planner.compiler.verdict
        if any(verdict(path, owner, key).action != action for key, action in wanted.items()):
            raise NotPlanned


PLAIN: dict[str, Callable[[Writer, Leaf, str], None]] = {
    "boolean": Writer.boolean,
    "number": Writer.decimal,
    "pseudonym": Writer.pseudonym,
    "offset": Writer.offset,
    "birth": Writer.life,
    "death": Writer.life,
}


REFERRING = frozenset({"reference", "subject", "about"})
# Twice the number of keys of a reference, and one more where one of them is a display.
ALONE, DISPLAYED = 2, 5
# What is done with a key of which something is kept.
KEEPING = frozenset(PLAIN) - {"birth", "death"} | {"code", "keep"} | REFERRING
MEMORIES = ("own_texts", "told_texts", "times")  # of a session


def number_check(name: str) -> str:
    """False for NaN and both infinities, like the rule."""
    kinds = f"type({name}) is not float and type({name}) is not int"
    return f"if {kinds} or not {-LARGEST} < {name} < {LARGEST}: raise Odd"
