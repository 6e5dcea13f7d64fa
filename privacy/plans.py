"""Straight-line Python for the resources that are as expected; the rules for all others.

Resources of one system look alike: the same keys in the same order, a known code, a known unit, a
date that can be read. For each such *shape* (the keys of one object at one path) a function is
generated from the same verdicts that the rules are compiled from, once, and remembered:

    plan = plans.get(tuple(source))

A plan looks before it counts. Whatever is not exactly as expected (another type, an unknown code,
an age code, a second coding, a date out of range) ends it with `ODD` before anything was counted,
and the rules of `compile.py` judge the whole resource from the start. A plan can
therefore only agree with the rules; `tests/privacy/test_privacy_plans.py` compares the two.

What a plan counts is the same for every resource of its shape, so it is one addition: a *bundle* of
slots, multiplied out when the counts are read. Parts that repeat (a coding, a unit, a time, a
reference) are judged once and shared between records: records are read, never written to.
"""

from collections.abc import Callable, Collection
from threading import Lock
from typing import TYPE_CHECKING, Any

from privacy.compile import LARGEST, Compiler, Rule
from privacy.elements import elements_of
from privacy.policy import Leaf, Verdict, require_verdict

if TYPE_CHECKING:
    from privacy.deidentify import Session

Shape = tuple[str, ...]
Plan = Callable[[Any, "Session", list[int]], Any]
Learn = Callable[[tuple[Any, ...]], tuple[Any, int]]
Memo = dict[tuple[Any, ...], tuple[Any, int]]

SHAPES = 64  # remembered at one path
UNKNOWN = "drop:unknown-code"
BUNDLES = 2048  # plans and variants in all; whatever comes later is judged by the rules
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
        find = self.finder(name, name)
        last: tuple[Shape, Plan | None] = ((), None)  # comparing is quicker than hashing

        def apply(source: Any, session: "Session") -> Any:
            nonlocal last
            shape, plan = last
            if tuple(source) != shape:
                last = shape, plan = find(tuple(source))
            if plan is not None:
                try:
                    return plan(source, session, [])
                except ODD:
                    pass
            return careful(source, session)

        return apply

    def nested(self, path: str, owner: str) -> Plan:
        find = self.finder(path, owner)
        last: tuple[Shape, Plan | None] = ((), None)

        def apply(source: Any, session: "Session", done: list[int]) -> Any:
            nonlocal last
            if type(source) is not dict:
                raise Odd
            shape, plan = last
            if tuple(source) != shape:
                last = shape, plan = find(tuple(source))
            if plan is None:
                raise Odd
            return plan(source, session, done)

        return apply

    def finder(self, path: str, owner: str) -> Callable[[Shape], tuple[Shape, Plan | None]]:
        """A shape and its plan. Only shapes whose keys are all published ones are remembered."""
        plans: dict[Shape, Plan | None] = {}
        keys = set(elements_of(owner)) | {"_" + key for key in elements_of(owner)}
        keys |= {"resourceType"} if "." not in path else set()

        def find(shape: Shape) -> tuple[Shape, Plan | None]:
            if shape in plans:
                return shape, plans[shape]
            if len(plans) >= SHAPES or not keys.issuperset(shape):
                return shape, None
            return shape, plans.setdefault(shape, self.made(path, owner, shape))

        return find

    def made(self, path: str, owner: str, shape: Shape) -> Plan | None:
        try:
            return Writer(self, path, owner, shape).plan()
        except NotPlanned:
            return None

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
        one, display = self.slot(path, action), self.slot(f"{path}.display", "drop")
        plain, displayed = self.bundle([one]), self.bundle([one, display])

        def apply(source: Any, session: "Session", done: list[int]) -> Any:
            if type(source) is not list or not source:
                raise Odd
            targets, kept = session.targets, []
            for item in source:
                text = item["reference"]
                target = targets.get(text) or session.reference(text)
                if target.text is None if action == "reference" else not target.mine:
                    raise Odd
                if len(item) > 1 and (len(item) > 2 or "display" not in item):
                    raise Odd
                done.append(displayed if len(item) > 1 else plain)
                kept.append(target.kept)
            return kept

        return apply

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
        self.names: dict[str, Any] = {"Odd": Odd, "LARGEST": LARGEST}
        self.slots: list[int] = []  # counted for every object of this shape
        self.kept: list[str] = []  # entries that are always kept
        self.perhaps: list[tuple[str, str]] = []  # entries kept unless nothing is left of them
        self.perhaps_not: list[tuple[str, str]] = []  # kept in their place, or taken out again
        self.numbers: list[str] = []  # bundles of the parts
        self.last: list[str] = []  # what may only be done when all else was as expected

    def plan(self) -> Plan:
        for position, key in enumerate(self.shape):
            self.key(key, f"v{position}")
        number = self.planner.bundle(self.slots)
        head = f"def plan(source, session, done):  # {self.path}: {', '.join(self.shape)}"
        text = "\n    ".join([head, *self.opening(), *self.lines, *self.ending(number)])
        exec(compile(text, f"<plan {self.path}>", "exec"), self.names)  # noqa: S102 - our own text
        self.planner.sources[f"{self.path} {' '.join(self.shape)}"] = text
        plan: Plan = self.names["plan"]
        return plan

    def opening(self) -> list[str]:
        used = [
            name for name in ("targets", "times") if any(f"{name}.get" in x for x in self.lines)
        ]
        return [f"{name} = session.{name}" for name in used]

    def ending(self, number: int) -> list[str]:
        kept = f"kept = {{{', '.join(self.kept)}}}"
        perhaps = [f"if {name} is not None: kept[{key!r}] = {name}" for key, name in self.perhaps]
        perhaps += [f"if {name} is None: del kept[{key!r}]" for key, name in self.perhaps_not]
        if not self.whole:  # counted with the resource it is part of, if that is as expected too
            done = f"done += ({', '.join([str(number), *self.numbers])},)"
            return [done, kept, *perhaps, "return kept or None"]
        counted = [f"bundles[{n}] += 1" for n in (str(number), *self.numbers)]
        nested = ["for number in done: bundles[number] += 1"]
        return [
            *self.last,
            kept,
            *perhaps,
            "bundles = session.bundles",
            *counted,
            *nested,
            "return kept",
        ]

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
            self.last.append(f"{self.give(name, rule)}(source[{leaf.key!r}], session)")
        elif action == "keep":
            self.keep(leaf, name)
        elif action in {"reference", "subject", "about"}:
            self.reference(leaf, action, name)
        elif leaf.element.is_list or action not in PLAIN:
            raise NotPlanned
        else:
            self.slots.append(self.planner.slot(leaf.path, action))
            PLAIN[action](self, leaf, name)

    def take(self, leaf: Leaf, name: str) -> None:
        """The value of a key, or the only item where the element repeats."""
        target = f"[{name}]" if leaf.element.is_list else name
        if leaf.element.is_list:
            self.lines += [
                f"{name} = source[{leaf.key!r}]",
                f"if type({name}) is not list: raise Odd",
            ]
            self.lines.append(f"{target} = {name}")
        else:
            self.lines.append(f"{target} = source[{leaf.key!r}]")

    def give(self, name: str, value: Any) -> str:
        """Make an object of ours known to the generated text."""
        self.names[f"_{name}"] = value
        return f"_{name}"

    def always(self, leaf: Leaf, text: str) -> None:
        self.kept.append(f"{leaf.key!r}: {text}")

    # Plain values ---------------------------------------------------------------------------------

    def boolean(self, leaf: Leaf, name: str) -> None:
        self.take(leaf, name)
        self.lines.append(f"if {name} is not True and {name} is not False: raise Odd")
        self.always(leaf, name)

    def number(self, leaf: Leaf, name: str) -> None:
        self.take(leaf, name)
        self.lines.append(number_check(name))
        self.always(leaf, name)

    def code(self, leaf: Leaf, name: str) -> None:
        self.take(leaf, name)
        self.lines.append(f"if {name} not in {self.give(name, leaf.element.codes)}: raise Odd")
        self.always(leaf, name)

    def pseudonym(self, leaf: Leaf, name: str) -> None:
        self.take(leaf, name)
        self.lines.append(f"if type({name}) is not str or not {name}: raise Odd")
        self.always(leaf, f"session.pseudonym({self.path.partition('.')[0]!r}, {name})")

    def offset(self, leaf: Leaf, name: str) -> None:
        self.take(leaf, name)
        self.lines.append(f"{name} = times.get({name}) or session.time({name})")
        self.always(leaf, name)

    def life(self, leaf: Leaf, name: str) -> None:
        """Counted; the session has read it."""

    # What is made of several keys -----------------------------------------------------------------

    def reference(self, leaf: Leaf, action: str, name: str) -> None:
        path = leaf.path
        if leaf.element.is_list:
            judge = self.give(name, self.planner.references(path, action))
            self.lines.append(f"{name} = {judge}(source[{leaf.key!r}], session, done)")
            self.always(leaf, name)
            return
        self.slots.append(self.planner.slot(path, action))
        self.take(leaf, name)
        text = f"{name}['reference']"
        self.lines.append(f"t{name} = targets.get({text}) or session.reference({text})")
        wanted = f"t{name}.text is None" if action == "reference" else f"not t{name}.mine"
        self.lines.append(f"if {wanted}: raise Odd")
        displayed = self.planner.bundle([self.planner.slot(f"{path}.display", "drop")])
        self.lines += [
            f"if len({name}) > 1:",
            f"    if len({name}) > 2 or 'display' not in {name}: raise Odd",
            f"    done.append({displayed})",
        ]
        self.always(leaf, f"t{name}.kept")

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
        self.take(leaf, f"c{name}")
        self.lines += [f"{name} = c{name}['coding']", f"if type({name}) is not list: raise Odd"]
        self.lines.append(f"[{name}] = {name}")
        text = f"{leaf.path}.text"
        self.codes(leaf, f"{leaf.path}.coding", name, text, f"'text' in c{name}, len(c{name})")

    def coding(self, leaf: Leaf, name: str) -> None:
        self.take(leaf, name)
        self.codes(leaf, leaf.path, name, None, "False, 1")

    def codes(self, leaf: Leaf, path: str, name: str, text: str | None, outer: str) -> None:
        self.require(
            path, "Coding", {"system": "code-system", "code": "known-code", "display": "drop"}
        )
        found = self.planner.coding_memo(path, text, leaf.element.is_list)
        key = f"({name}['system'], {name}['code'], 'display' in {name}, len({name}), {outer})"
        self.remembered(name, key, found)
        self.always(leaf, f"m{name}[0]")
        self.perhaps_not.append((leaf.key, f"m{name}[0]"))

    def quantity(self, leaf: Leaf, name: str) -> None:
        self.require(
            leaf.path,
            "Quantity",
            {"value": "number", "unit": "unit", "system": "unit-system", "code": "unit-code"},
        )
        self.take(leaf, name)
        self.lines += [f"n{name} = {name}['value']", number_check(f"n{name}")]
        key = f"({name}.get('unit'), {name}.get('system'), {name}.get('code'), len({name}))"
        self.remembered(name, key, self.planner.unit_memo(leaf.path))
        self.always(leaf, f"{{'value': n{name}, **m{name}[0]}}")

    def remembered(self, name: str, key: str, found: tuple[Memo, Learn]) -> None:
        memo = self.give(f"memo_{name}", found[0])
        learn = self.give(f"learn_{name}", found[1])
        self.lines += [f"k{name} = {key}", f"m{name} = {memo}.get(k{name}) or {learn}(k{name})"]
        self.numbers.append(f"m{name}[1]")

    def object(self, leaf: Leaf, owner: str, name: str) -> None:
        inner = self.give(name, self.planner.nested(leaf.path, owner))
        value = f"source[{leaf.key!r}]"
        if leaf.element.is_list:
            self.lines += [
                f"if type({value}) is not list: raise Odd",
                f"{name} = [{inner}(item, session, done) for item in {value}]",
                f"{name} = [item for item in {name} if item is not None] or None",
            ]
        else:
            self.lines.append(f"{name} = {inner}({value}, session, done)")
        self.perhaps.append((leaf.key, name))

    def require(self, path: str, owner: str, wanted: dict[str, str]) -> None:
        """Where a policy judges a part of a datatype otherwise, the rules have to."""
        verdict = self.planner.compiler.verdict
        if any(verdict(path, owner, key).action != action for key, action in wanted.items()):
            raise NotPlanned


PLAIN: dict[str, Callable[[Writer, Leaf, str], None]] = {
    "boolean": Writer.boolean,
    "number": Writer.number,
    "code": Writer.code,
    "pseudonym": Writer.pseudonym,
    "offset": Writer.offset,
    "birth": Writer.life,
    "death": Writer.life,
}


def number_check(name: str) -> str:
    """False for NaN and both infinities, like the rule."""
    kinds = f"type({name}) is not float and type({name}) is not int"
    return f"if {kinds} or not -LARGEST < {name} < LARGEST: raise Odd"
