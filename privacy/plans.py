"""Straight-line Python for the resources that are as expected; the rules for all others.

Resources of one system look alike: the same keys in the same order, a known code, a known unit, a
date that can be read. For each such *shape* (the keys of one object at one path) a function is
generated from the same verdicts that the rules are compiled from, once, and remembered:

    plan = plans[tuple(source)]

Whatever is not exactly as expected (another type, an unknown key, an age code, a second coding, a
date out of range) ends a plan with `ODD`: what it has counted is taken back, and the rules of
`compile.py` judge the whole resource from the start. A plan can therefore only agree with the
rules; `tests/privacy/test_privacy_plans.py` compares the two.

What a plan counts is the same for every object of its shape: a *bundle* of slots. Its number is
noted in `done`, and multiplied out when the counts are read. Parts that repeat (a coding, a unit, a
time, a reference) are judged once and shared between records: records are read, never written to.
"""

from collections.abc import Callable, Collection
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from privacy.compile import LARGEST, Compiler, Rule
from privacy.elements import elements_of
from privacy.policy import Leaf, Verdict, require_verdict

if TYPE_CHECKING:
    from privacy.deidentify import Session

Shape = tuple[str, ...]
Plan = Callable[[Any, "Session", list[int]], Any]
Learn = Callable[[tuple[Any, ...]], tuple[Any, int]]
Memo = dict[tuple[Any, ...], tuple[Any, int]]
Made = TypeVar("Made")

SHAPES = 64  # remembered at one path
UNKNOWN = "drop:unknown-code"
BUNDLES = 2048  # plans and variants in all; whatever comes later is judged by the rules
MANY = 1 << 12  # numbers of bundles noted before they are added up
CACHE = 1 << 14  # codings or units remembered at one path; a full cache starts again


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
        self.sources: dict[str, str] = {}  # what was generated, to be read
        self._lock = Lock()

    def resource(self, name: str, careful: Rule) -> Rule:
        """The plan for the shape of a resource; the rules for whatever has none."""
        keys = keys_of(name) | {"resourceType"}
        plans = Plans(lambda shape: Writer(self, name, name, shape).plan(), keys)

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

        def apply(source: Any, session: "Session", done: list[int]) -> Any:
            plan = plans[tuple(source)] if type(source) is dict else None
            if plan is None:
                raise Odd
            return plan(source, session, done)

        return apply

    def counted(self, path: str, owner: str) -> "Plans[int] | None":
        """The bundle for each shape of an object of which nothing is kept; None if anything is."""
        actions = {self.compiler.verdict(path, owner, key).action for key in elements_of(owner)}
        if actions & KEEPING:
            return None
        return Plans(lambda shape: Writer(self, path, owner, shape).number(), keys_of(owner))

    # Counting -------------------------------------------------------------------------------------

    def bundle(self, slots: Collection[int]) -> int:
        with self._lock:
            if len(self.bundles) >= BUNDLES:
                raise NotPlanned
            self.bundles.append(tuple(slots))
            return len(self.bundles) - 1

    def slot(self, path: str, action: str) -> int:
        """A slot that the rules have: a plan cannot count what they would not."""
        return self.compiler.existing_slot(path, action)

    def references(self, path: str, action: str) -> Plan:
        """The plan of a list of references: each of them counts."""
        numbers = self.reference_numbers(path, action)

        def apply(source: Any, session: "Session", done: list[int]) -> Any:
            if type(source) is not list or not source:
                raise Odd
            find = session.told if action == "reference" else session.own
            kept = [find(item["reference"]) for item in source]
            done += [numbers[tuple(item)] for item in source]
            return kept

        return apply

    def reference_numbers(self, path: str, action: str) -> dict[Shape, int]:
        """The bundle of a reference, by its keys."""
        one, display = self.slot(path, action), self.slot(f"{path}.display", "drop")
        displayed = self.bundle([one, display])
        return {
            ("reference",): self.bundle([one]),
            ("reference", "display"): displayed,
            ("display", "reference"): displayed,
        }

    # What repeats, judged once --------------------------------------------------------------------

    def coding_memo(self, path: str, text: str | None, as_list: bool) -> tuple[Memo, Learn]:
        """Judges `(system, code, display?, keys, text?, keys)`; `text` names a concept's text."""
        memo: Memo = {}
        numbers: dict[tuple[bool, bool, str], int] = {}

        def slots(display: bool, texted: bool, action: str) -> list[int]:
            found = [self.slot(path, action)]
            found += [self.slot(f"{path}.display", "drop")] if display else []
            if text is not None and action == UNKNOWN:
                found.append(self.slot(text.removesuffix(".text"), "drop:uncoded"))
            return found + ([self.slot(str(text), "drop")] if texted else [])

        def learn(key: tuple[Any, ...]) -> tuple[Any, int]:
            system, code, display, keys, texted, outer = key
            known = self.compiler.known(system, code)
            if keys != 2 + display or outer != 1 + texted or (known and known.special):
                raise Odd
            variant = (display, texted, known.action if known else UNKNOWN)
            if variant not in numbers:
                numbers[variant] = self.bundle(slots(*variant))
            if known is None:  # it may say who somebody is: judged each time, never remembered
                return None, numbers[variant]
            kept: Any = {"system": known.system, "code": known.code}
            kept = kept if text is None else {"coding": [kept]}
            return remember(memo, key, ([kept] if as_list else kept, numbers[variant]))

        return memo, learn

    def unit_memo(self, path: str) -> tuple[Memo, Learn]:
        """Judges `(unit, system, code, keys)` of a quantity that holds a value and these alone."""
        memo: Memo = {}
        numbers: dict[tuple[bool, bool], int] = {}
        judge = self.compiler.unit_judge(path)

        def slots(unit: bool, code: bool) -> list[int]:
            found = [self.slot(f"{path}.value", "number")]
            found += [self.slot(f"{path}.unit", "unit")] if unit else []
            return found + ([self.slot(f"{path}.code", "unit-code")] if code else [])

        def learn(key: tuple[Any, ...]) -> tuple[Any, int]:
            given = {
                name: value
                for name, value in zip(("unit", "system", "code"), key, strict=False)
                if value is not None
            }
            parts, years = judge(*key[:3])
            if parts != given or years or key[3] != 1 + len(given):
                raise Odd
            variant = ("unit" in given, "code" in given)
            if variant not in numbers:
                numbers[variant] = self.bundle(slots(*variant))
            return remember(memo, key, (parts, numbers[variant]))

        return memo, learn


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


def remember(memo: Memo, key: tuple[Any, ...], found: tuple[Any, int]) -> tuple[Any, int]:
    if len(memo) >= CACHE:
        memo.clear()
    memo[key] = found
    return found


class Writer:
    """Writes the function for one shape, line by line."""

    def __init__(self, planner: Planner, path: str, owner: str, shape: Shape) -> None:
        self.planner, self.path, self.owner, self.shape = planner, path, owner, shape
        self.whole = "." not in path
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"Odd": Odd}
        self.slots: list[int] = []  # counted for every object of this shape
        self.kept: list[str] = []  # entries that are always kept
        self.perhaps: list[tuple[str, str]] = []  # entries kept unless nothing is left of them
        self.perhaps_not: list[tuple[str, str]] = []  # kept in their place, or taken out again
        self.numbers: list[str] = []  # bundles of the parts
        self.last: list[str] = []  # counts of its own: only when all else was as expected

    def plan(self) -> Plan:
        number = self.number()
        head = f"def plan(source, session, done):  # {self.path}: {', '.join(self.shape)}"
        text = "\n    ".join([head, *self.opening(), *self.lines, *self.ending(number)])
        exec(compile(text, f"<plan {self.path}>", "exec"), self.names)  # noqa: S102 - our own text
        self.planner.sources[f"{self.path} {' '.join(self.shape)}"] = text
        plan: Plan = self.names["plan"]
        return plan

    def number(self) -> int:
        """Writes the lines; the bundle of what is counted for every object of this shape."""
        for position, key in enumerate(self.shape):
            self.key(key, f"v{position}")
        return self.planner.bundle(self.slots)

    def opening(self) -> list[str]:
        """The values, all at once, in the order of the shape; and what the session remembers."""
        values = "".join(f"v{position}, " for position in range(len(self.shape)))
        used = [name for name in MEMORIES if any(f"{name}.get" in line for line in self.lines)]
        taken = [f"{values}= source.values()"] if self.shape else []
        return [*taken, *(f"{name} = session.{name}" for name in used)]

    def ending(self, number: int) -> list[str]:
        kept = f"kept = {{{', '.join(self.kept)}}}"
        perhaps = [f"if {name} is not None: kept[{key!r}] = {name}" for key, name in self.perhaps]
        perhaps += [f"if {name} is None: del kept[{key!r}]" for key, name in self.perhaps_not]
        done = f"done += ({', '.join([str(number), *self.numbers])},)"
        return [*self.last, kept, *perhaps, done, f"return kept{'' if self.whole else ' or None'}"]

    # One key --------------------------------------------------------------------------------------

    def key(self, key: str, name: str) -> None:
        if key == "resourceType":
            self.kept.append(f"'resourceType': {self.path!r}")
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
            self.last.append(f"{self.give(name, rule)}({name}, session)")
        elif action == "keep":
            self.keep(leaf, name)
        elif action in {"reference", "subject", "about"}:
            self.reference(leaf, action, name)
        elif leaf.element.is_list or action not in PLAIN:
            raise NotPlanned
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
        self.kept.append(f"{leaf.key!r}: {text}")

    # Plain values ---------------------------------------------------------------------------------

    def boolean(self, leaf: Leaf, name: str) -> None:
        self.lines.append(f"if {name} is not True and {name} is not False: raise Odd")
        self.always(leaf, name)

    def decimal(self, leaf: Leaf, name: str) -> None:
        self.lines.append(number_check(name))
        self.always(leaf, name)

    def code(self, leaf: Leaf, name: str) -> None:
        self.lines.append(f"if {name} not in {self.give(name, leaf.element.codes)}: raise Odd")
        self.always(leaf, name)

    def pseudonym(self, leaf: Leaf, name: str) -> None:
        self.lines.append(f"if type({name}) is not str or not {name}: raise Odd")
        self.always(leaf, f"session.pseudonym({self.path.partition('.')[0]!r}, {name})")

    def offset(self, leaf: Leaf, name: str) -> None:
        self.lines.append(f"{name} = times.get({name}) or session.time({name})")
        self.always(leaf, name)

    def life(self, leaf: Leaf, name: str) -> None:
        """Counted; the session has read it."""

    # What is made of several keys -----------------------------------------------------------------

    def reference(self, leaf: Leaf, action: str, name: str) -> None:
        path = leaf.path
        if leaf.element.is_list:
            judge = self.give(name, self.planner.references(path, action))
            self.lines.append(f"{name} = {judge}({name}, session, done)")
            self.always(leaf, name)
            return
        text, kind = f"{name}['reference']", "told" if action == "reference" else "own"
        self.lines.append(f"r{name} = {kind}_texts.get({text}) or session.{kind}({text})")
        self.numbers.append(f"n{name}")
        numbers = self.give(name, self.planner.reference_numbers(path, action))
        self.lines.append(f"n{name} = {numbers}[tuple({name})]")
        self.always(leaf, f"r{name}")

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
        self.codes(leaf, f"{leaf.path}.coding", f"c{name}", text, f"'text' in {name}, len({name})")

    def coding(self, leaf: Leaf, name: str) -> None:
        self.only(leaf, name)
        self.codes(leaf, leaf.path, name, None, "False, 1")

    def codes(self, leaf: Leaf, path: str, name: str, text: str | None, outer: str) -> None:
        self.require(
            path, "Coding", {"system": "code-system", "code": "known-code", "display": "drop"}
        )
        found = self.planner.coding_memo(path, text, leaf.element.is_list)
        key = f"({name}['system'], {name}['code'], 'display' in {name}, len({name}), {outer})"
        self.remembered(name, key, found)
        self.always(leaf, f"m{name}")
        self.perhaps_not.append((leaf.key, f"m{name}"))

    def quantity(self, leaf: Leaf, name: str) -> None:
        self.require(
            leaf.path,
            "Quantity",
            {"value": "number", "unit": "unit", "system": "unit-system", "code": "unit-code"},
        )
        self.lines += [f"x{name} = {name}['value']", number_check(f"x{name}")]
        key = f"({name}.get('unit'), {name}.get('system'), {name}.get('code'), len({name}))"
        self.remembered(name, key, self.planner.unit_memo(leaf.path))
        self.always(leaf, f"{{'value': x{name}, **m{name}}}")

    def remembered(self, name: str, key: str, found: tuple[Memo, Learn]) -> None:
        memo = self.give(f"memo_{name}", found[0])
        learn = self.give(f"learn_{name}", found[1])
        self.lines.append(f"k{name} = {key}")
        self.lines.append(f"m{name}, n{name} = {memo}.get(k{name}) or {learn}(k{name})")
        self.numbers.append(f"n{name}")

    def object(self, leaf: Leaf, owner: str, name: str) -> None:
        counted = None if leaf.element.is_list else self.planner.counted(leaf.path, owner)
        if counted is not None:
            numbers = self.give(name, counted)
            self.lines.append(f"if type({name}) is not dict: raise Odd")
            self.lines += [f"n{name} = {numbers}[tuple({name})]", f"if n{name} is None: raise Odd"]
            self.numbers.append(f"n{name}")
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
    "code": Writer.code,
    "pseudonym": Writer.pseudonym,
    "offset": Writer.offset,
    "birth": Writer.life,
    "death": Writer.life,
}


# What is done with a key of which something is kept.
KEEPING = frozenset(PLAIN) - {"birth", "death"} | {"keep", "reference", "subject", "about"}
MEMORIES = ("own_texts", "told_texts", "times")  # of a session


def number_check(name: str) -> str:
    """False for NaN and both infinities, like the rule."""
    kinds = f"type({name}) is not float and type({name}) is not int"
    return f"if {kinds} or not {-LARGEST} < {name} < {LARGEST}: raise Odd"
