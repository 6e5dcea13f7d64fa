"""Read an equation's folder into checked, immutable objects.

Everything that can be wrong with a folder is found here, when the library is built, and said with
the folder, the place and what to change: an unknown symbol, a coefficient without a declared
source, a term that no coefficient uses, a variant without a rule.
"""

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from twin_engine.equations.expression import Expression, ExpressionError, parse

ALL = "all"
RESERVED = frozenset({"x"})
KEY_COLUMNS = ("variant", "horizon", "outcome", "term", "source")


class EquationError(ValueError):
    """An equation's folder does not hold together."""


@dataclass(frozen=True)
class Variable:
    """One input of an equation: how it is called, measured, bounded and found in a twin."""

    id: str
    symbol: str
    column: str
    unit: str = "1"
    choices: tuple[str, ...] = ()
    flag: bool = False
    optional: bool = False
    part: bool = False
    sources: tuple[Mapping[str, Any], ...] = ()
    window_days: int | None = None
    top_coded: bool = False  # an age known as "90 or older" may be used as 90
    words: Mapping[str, str] = field(default_factory=dict)  # how a table may spell a choice
    bounds: tuple[float, float] | None = None
    bounds_at: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    reference: float | None = None
    refuses: Mapping[str, str] = field(default_factory=dict)  # choice -> reason of the refusal

    def range_at(self, horizon: int | None) -> tuple[float, float] | None:
        return self.bounds_at.get(horizon or 0, self.bounds)


class Target(NamedTuple):
    """One outcome at one horizon. Plans are found by it, so it has to be hashed quickly."""

    outcome: str
    horizon: int | None


@dataclass(frozen=True)
class Derivation:
    """How an input is computed where it was not given: by an expression or another equation."""

    id: str
    input: str
    of: tuple[str, ...]
    expression: Expression | None = None
    model: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Choice:
    variant: str
    known_at_least: int
    of: tuple[str, ...]


@dataclass(frozen=True)
class OutcomeSpec:
    id: str
    unit: str
    horizons: tuple[int, ...]
    report: bool
    label: str
    codes: Mapping[str, Mapping[str, str]]
    about: Mapping[str, str] = field(default_factory=dict)  # the medicine it speaks of

    def targets(self) -> Iterator[Target]:
        for horizon in self.horizons or (None,):
            yield Target(self.id, horizon)


@dataclass(frozen=True)
class Categories:
    """Named bands of one outcome; each band reaches up to, and does not include, its limit."""

    outcome: str
    horizon: int | None
    scheme: str
    bands: tuple[tuple[str, float | None], ...]
    when: Expression | None = None

    def fits(self, target: Target, row: Mapping[str, float]) -> bool:
        same = (self.outcome, self.horizon) == (target.outcome, target.horizon)
        return same and (self.when is None or bool(self.when(row) > 0))

    def code(self, value: float) -> str:
        return next(code for code, below in self.bands if below is None or value < below)


# (variant, stratum, target) -> name of term or constant -> number
Table = Mapping[tuple[str, str, Target], Mapping[str, float]]


@dataclass(frozen=True)
class Equation:
    """One published equation, complete."""

    id: str
    version: str
    title: str
    kind: str
    inputs: Mapping[str, Variable]
    derivations: tuple[Derivation, ...]
    exclusions: tuple[Mapping[str, Any], ...]
    inclusions: tuple[Mapping[str, Any], ...]
    strata: Mapping[str, Expression]
    terms: Mapping[str, Expression]
    predictor_scale: str
    predictor: Expression
    link: Expression
    variants: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]  # how a table may call a variant -> its id
    requires_all: bool
    on_request: bool  # not run on a twin unless named
    rows_only: bool  # never answers on a twin
    shelf_life_days: int | None
    stake: str
    choices: tuple[Choice, ...]
    outcomes: Mapping[str, OutcomeSpec]
    categories: tuple[Categories, ...]
    monotone: tuple[Mapping[str, Any], ...]
    not_monotone: str
    vectors: str  # the table of reference values, as it stands
    table: Table
    sources: Mapping[str, str]
    card: Mapping[str, Any]
    codings: tuple[Mapping[str, str], ...]  # what kind of assessment it is, in public codes
    content: Mapping[str, str]  # file name -> sha256, of what the numbers follow from

    def targets(self) -> list[Target]:
        return [target for outcome in self.outcomes.values() for target in outcome.targets()]

    def symbols(self) -> dict[str, Variable]:
        return {variable.symbol: variable for variable in self.inputs.values()}

    def category(
        self, target: Target, value: float, row: Mapping[str, float]
    ) -> tuple[str, str] | None:
        asks = any(bands.when for bands in self.categories)
        environment = self._environment(row) if asks else {}
        for bands in self.categories:
            if bands.fits(target, environment):
                return bands.scheme, bands.code(value)
        return None

    def _environment(self, row: Mapping[str, float]) -> dict[str, Any]:
        """What a category's `when` may read: the inputs, the choices and the terms it names."""
        found: dict[str, Any] = {
            choice_name(choice): float(index)
            for variable in self.inputs.values()
            for index, choice in enumerate(variable.choices)
        }
        found |= {v.symbol: row.get(name, math.nan) for name, v in self.inputs.items()}
        asked = {name for bands in self.categories if bands.when for name in bands.when.names}
        read = _closure(asked, self.terms)
        for name in self.terms:
            if name in read:
                found[name] = self.terms[name](found)
        return found

    def needs(self, variant: str, target: Target) -> frozenset[str]:
        """The inputs that this outcome's own terms, constants and strata read."""
        return _needs(self, variant, target)


def _needs(equation: Equation, variant: str, target: Target) -> frozenset[str]:
    names: set[str] = set(equation.link.names)
    for (v, _, t), row in equation.table.items():
        if v == variant and t == target:
            names |= row.keys()
    for expression in equation.strata.values():
        names |= expression.names
    by_symbol = equation.symbols()
    found = _closure(names, equation.terms)
    return frozenset(by_symbol[name].id for name in found if name in by_symbol)


def _closure(names: set[str], terms: Mapping[str, Expression]) -> set[str]:
    """Follow terms into the terms and symbols they are made of."""
    seen: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(terms[name].names if name in terms else ())
    return seen


# -- reading -----------------------------------------------------------------------------------


@cache
def library() -> Mapping[str, Equation]:
    """Every equation shipped, by id."""
    root = files("twin_engine.equations")
    folders = sorted((f for f in root.iterdir() if f.is_dir()), key=lambda f: f.name)
    found = [load(folder) for folder in folders if folder.joinpath("model.yaml").is_file()]
    return MappingProxyType({equation.id: equation for equation in found})


def load(folder: Traversable) -> Equation:
    """Read and check one folder."""
    try:
        return _load(folder)
    except (EquationError, ExpressionError, KeyError, TypeError, ValueError) as error:
        raise EquationError(f"equation folder {folder.name}: {error}") from error


def _load(folder: Traversable) -> Equation:
    spec = read_yaml(folder, "model.yaml")
    sources, rows = read_table(folder.joinpath("coefficients.csv").read_text(encoding="utf-8"))
    inputs = {name: _variable(name, body) for name, body in spec["inputs"].items()}
    outcomes = {name: _outcome(name, body) for name, body in spec["outcomes"].items()}
    equation = Equation(
        id=spec["id"],
        version=spec["version"],
        title=spec["title"],
        kind=spec["kind"],
        inputs=MappingProxyType(inputs),
        derivations=tuple(_derivation(name, b) for name, b in spec["derivations"].items()),
        exclusions=tuple(spec.get("exclusions", ())),
        inclusions=tuple(spec.get("inclusions", ())),
        strata={name: parse(text) for name, text in spec["strata"].items()},
        terms={name: parse(text) for name, text in spec["terms"].items()},
        predictor_scale=spec["predictor"]["scale"],
        predictor=parse(spec["predictor"]["value"]),
        link=parse(spec["link"]),
        variants={name: tuple(ids) for name, ids in spec["variants"].items()},
        aliases=MappingProxyType(dict(spec.get("aliases", {}))),
        requires_all=spec.get("requires_all", False),
        on_request=spec.get("on_request", False),
        rows_only=spec.get("rows_only", False),
        shelf_life_days=spec["shelf_life_days"],
        stake=spec["stake"],
        choices=tuple(_choice(body) for body in spec["choose"]),
        outcomes=MappingProxyType(outcomes),
        categories=tuple(_categories(body) for body in spec.get("categories", ())),
        monotone=tuple(spec.get("monotone", ())),
        not_monotone=spec.get("not_monotone", ""),
        vectors=_text(folder.joinpath("vectors.csv")),
        table=_coefficients(rows, tuple(spec["strata"]), sources),
        sources=MappingProxyType(sources),
        card=read_yaml(folder, "card.yaml"),
        codings=tuple(spec.get("codings", ())),
        content={name: file_digest(folder, name) for name in ("coefficients.csv", "model.yaml")},
    )
    _check(equation, folder.name)
    return equation


# libyaml reads the sheets about ten times as fast, and every command waits for them.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(folder: Traversable, name: str) -> Any:
    """A sheet or a card, safely: plain values only."""
    return yaml.load(folder.joinpath(name).read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  (either is a safe one)


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def file_digest(folder: Traversable, name: str) -> str:
    """What an assessment's card names, so that changed numbers are seen."""
    return f"sha256:{hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest()}"


def read_table(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """A CSV whose `# key: citation` lines declare the sources its rows name."""
    lines = text.splitlines()
    notes = [line[1:].strip() for line in lines if line.startswith("#")]
    sources = dict(note.split(": ", 1) for note in notes if ": " in note)
    return sources, list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _variable(name: str, body: Mapping[str, Any]) -> Variable:
    bounds = body.get("range")
    by_horizon = bounds if isinstance(bounds, Mapping) else {}
    return Variable(
        id=name,
        symbol=body["symbol"],
        column=body.get("column", name),
        unit=body.get("unit", "1"),
        choices=tuple(body.get("choices", ())),
        flag=body.get("flag", False),
        optional=body.get("optional", False),
        part=body.get("part", False),
        sources=tuple(body["from"]),
        window_days=body.get("window_days"),
        top_coded=body.get("top_coded", False),
        words=MappingProxyType(dict(body.get("words", {}))),
        bounds=_widest(by_horizon) if by_horizon else _pair(bounds),
        bounds_at={horizon: (float(p[0]), float(p[1])) for horizon, p in by_horizon.items()},
        reference=body.get("reference"),
    )


def _pair(bounds: Any) -> tuple[float, float] | None:
    return None if bounds is None else (float(bounds[0]), _upper(bounds[1]))


def _upper(bound: Any) -> float:
    """`60` is inside the range; `"<60"` is the first number outside it."""
    if isinstance(bound, str) and bound.startswith("<"):
        return math.nextafter(float(bound[1:]), -math.inf)
    return float(bound)


def _widest(by_horizon: Mapping[int, Any]) -> tuple[float, float]:
    return (
        min(float(pair[0]) for pair in by_horizon.values()),
        max(float(pair[1]) for pair in by_horizon.values()),
    )


def _outcome(name: str, body: Mapping[str, Any]) -> OutcomeSpec:
    codes = body.get("codes", {})
    horizons = tuple(body["horizons"])
    return OutcomeSpec(name, body["unit"], horizons, body["report"], body["label"], codes)


def _derivation(name: str, body: Mapping[str, Any]) -> Derivation:
    if "expression" in body:
        return Derivation(name, body["input"], tuple(body["of"]), parse(body["expression"]))
    other = body["equation"]
    return Derivation(
        name, body["input"], tuple(body["of"]), None, other["model"], other["variant"]
    )


def _choice(body: Mapping[str, Any]) -> Choice:
    return Choice(body["variant"], body["known_at_least"], tuple(body["of"]))


def _categories(body: Mapping[str, Any]) -> Categories:
    bands = tuple((band["code"], _limit(band)) for band in body["bands"])
    when = parse(body["when"]) if "when" in body else None
    return Categories(body["outcome"], body.get("horizon"), body["scheme"], bands, when)


def _limit(band: Mapping[str, Any]) -> float | None:
    """The first number beyond a band: `below` is outside it, `up_to` still inside."""
    if "up_to" in band:
        return math.nextafter(float(band["up_to"]), math.inf)
    return band.get("below")


def _coefficients(
    rows: list[dict[str, str]], strata: tuple[str, ...], sources: Mapping[str, str]
) -> Table:
    table: dict[tuple[str, str, Target], dict[str, float]] = {}
    for line, row in enumerate(rows, start=1):
        if row["source"] not in sources:
            raise EquationError(
                f"coefficient row {line} names the undeclared source {row['source']!r}"
            )
        target = Target(row["outcome"], int(row["horizon"]) if row["horizon"] else None)
        for stratum in strata:
            column = stratum if stratum in row else ALL
            if row[column] != "":
                cell = table.setdefault((row["variant"], stratum, target), {})
                if row["term"] in cell:
                    raise EquationError(f"coefficient row {line} repeats {row['term']!r}")
                cell[row["term"]] = float(row[column])
    return table


# -- checking ----------------------------------------------------------------------------------


def _check(equation: Equation, folder: str) -> None:
    _require(equation.id == folder, f"id {equation.id!r} is not the folder's name")
    symbols = equation.symbols()
    _require(len(symbols) == len(equation.inputs), "two inputs share a symbol")
    choices = {choice_name(c) for v in equation.inputs.values() for c in v.choices}
    clash = (symbols.keys() | choices) & (equation.terms.keys() | RESERVED)
    _require(not clash, f"names used twice: {sorted(clash)}")
    _check_table(equation)
    _check_names(equation)
    _check_variants(equation)


def _check_table(equation: Equation) -> None:
    used = {name for row in equation.table.values() for name in row}
    used |= {name for bands in equation.categories if bands.when for name in bands.when.names}
    reached = _closure(used, equation.terms)
    idle = equation.terms.keys() - reached
    _require(not idle, f"terms no coefficient uses: {sorted(idle)}")
    for variant in equation.variants:
        for stratum in equation.strata:
            held = {t for v, s, t in equation.table if (v, s) == (variant, stratum)}
            _require(held != set(), f"no coefficients for {variant} in stratum {stratum}")
            strays = held - set(equation.targets())
            _require(
                not strays, f"coefficients for undeclared outcomes: {sorted(map(str, strays))}"
            )


def _check_names(equation: Equation) -> None:
    choices = {choice_name(c) for v in equation.inputs.values() for c in v.choices}
    base = equation.symbols().keys() | choices
    for name, stratum in equation.strata.items():
        _require(not stratum.names - base, f"stratum {name} reads unknown names")
    earlier: set[str] = set()
    for name, term in equation.terms.items():
        later = term.names & (equation.terms.keys() - earlier)
        _require(not later, f"term {name} reads later terms {sorted(later)}")
        earlier.add(name)
    for (variant, place, target), row in equation.table.items():
        used = set(row) | equation.link.names | equation.predictor.names
        read = _closure(used, equation.terms) - equation.terms.keys() - RESERVED
        unknown = read - base - row.keys()
        where = f"{variant}, {place}, {target.outcome}"
        _require(not unknown, f"{where}: unknown names {sorted(unknown)}")
        idle = row.keys() - equation.terms.keys() - _closure_of_row(equation, row)
        _require(not idle, f"{where}: constants nothing reads {sorted(idle)}")


def _closure_of_row(equation: Equation, row: Mapping[str, float]) -> set[str]:
    """The names that the link, the predictor and this row's terms read."""
    terms = row.keys() & equation.terms.keys()
    return _closure(
        {n for name in terms for n in equation.terms[name].names}
        | equation.link.names
        | equation.predictor.names,
        equation.terms,
    )


def _check_variants(equation: Equation) -> None:
    for choice in equation.choices:
        _require(choice.variant in equation.variants, f"rule for unknown variant {choice.variant}")
    _require(equation.choices[-1].known_at_least == 0, "the last rule must always apply")
    named = {name for ids in equation.variants.values() for name in ids}
    named |= {name for choice in equation.choices for name in choice.of}
    named |= {name for derivation in equation.derivations for name in derivation.of}
    unknown = named - equation.inputs.keys()
    _require(not unknown, f"inputs named but not declared: {sorted(unknown)}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise EquationError(message)


def choice_name(choice: str) -> str:
    """How a choice is written in an expression: `very-high` as `very_high`."""
    return choice.replace("-", "_")
