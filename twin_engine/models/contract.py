"""What a model is: the contract that ours keep and that anybody's model can keep.

A model declares its inputs, outcomes, variants, exclusions and card, and computes outcomes over
columns of numbers. One patient is a batch of one. NaN means unknown; a choice (sex, region) is
the position in its list of choices; a flag is 0 or 1.

Subclass `Model` and write `compute`. Which rows may be answered at all, which variant applies and
why a row is refused is decided here, from the declarations alone, and so is the same for every
model: `compute` only ever sees values that are known and inside their published range.
"""

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import Choice, Derivation, OutcomeSpec, Target
from twin_engine.equations.library import Variable as Input
from twin_engine.models.vectors import Vector

__all__ = [
    "REASONS",
    "Choice",
    "Input",
    "Model",
    "OutcomeSpec",
    "Prediction",
    "Reason",
    "Target",
    "Vector",
]

Columns = Mapping[str, FloatArray]
IntArray = NDArray[np.int16]
BoolArray = NDArray[np.bool_]
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Reason:
    """Why there is no number. `fixable`: another measurement or a fuller record could help."""

    id: str
    fixable: bool
    sentence: str


def _read_reasons() -> dict[str, Reason]:
    text = files("twin_engine.models").joinpath("reasons.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {r["reason"]: Reason(r["reason"], r["fixable"] == "yes", r["sentence"]) for r in rows}


REASONS: Mapping[str, Reason] = _read_reasons()
GIVEN = -1  # in Prediction.reasons
STAKES = ("low", "high")
NOBODY = -1  # in Prediction.blame
MANY = 4096  # rows
LARGEST = float(np.finfo(np.float64).max)
_CODES = {reason: index for index, reason in enumerate(REASONS)}
_NAMES = tuple(REASONS)


@dataclass(frozen=True)
class Prediction:
    """The answers to a batch: one row per target, one column per patient.

    `values` is NaN exactly where `reasons` names a refusal; `blame` is the position of the input
    that the refusal is about, or -1.
    """

    targets: tuple[Target, ...]
    variants: IntArray
    values: FloatArray
    reasons: IntArray
    blame: IntArray

    def reason(self, target: int, row: int) -> str:
        """The refusal's machine reason, or "" where a number was given."""
        code = int(self.reasons[target, row])
        return "" if code == GIVEN else _NAMES[code]


class _Limits(NamedTuple):
    """What all inputs may be, one after the other: so many small questions take longer than one."""

    low: FloatArray  # inputs x 1
    high: FloatArray
    listed: Positions  # of those that are one of a list: choices and flags
    ends: tuple[FloatArray, FloatArray]  # of the published ranges alone; infinite without one

    @classmethod
    def of(cls, inputs: Iterable[Input]) -> "_Limits":
        declared = list(inputs)
        low, high = np.array([_ends(one) for one in declared]).T[:, :, None]
        listed = [place for place, one in enumerate(declared) if one.flag or one.choices]
        infinite = (-np.inf, np.inf)
        ends = np.array([one.bounds or infinite for one in declared]).T[:, :, None]
        return cls(low, high, np.array(listed, dtype=np.intp), (ends[0], ends[1]))

    def inside(self, values: FloatArray) -> BoolArray:
        """Known, and inside the widest published range. `values`: inputs x rows."""
        found = (values >= self.low) & (values <= self.high)
        if self.listed.size:
            words = values[self.listed]
            found[self.listed] &= words == np.trunc(words)
        return np.asarray(found)


class Model(ABC):
    """Base of every model. Class or instance attributes declare; `compute` computes."""

    id: str
    version: str
    title: str
    kind: str  # "probability", "quantity", "score" or "recommendation"
    inputs: Mapping[str, Input]
    outcomes: Mapping[str, OutcomeSpec]
    card: Mapping[str, Any]  # the fields of card_fields.csv
    content: Mapping[str, str] = {}  # digests of the files the model was made from
    variants: Mapping[str, tuple[str, ...]]  # variant -> the optional inputs it uses
    aliases: Mapping[str, str] = {}  # how a table may call a variant -> the variant
    choices: tuple[Choice, ...]  # the rule that picks a variant by what is known
    exclusions: tuple[Mapping[str, Any], ...] = ()
    inclusions: tuple[Mapping[str, Any], ...] = ()  # what must be known of everybody it is for
    monotone: tuple[Mapping[str, Any], ...] = ()
    not_monotone: str = ""  # why no outcome only rises or only falls with an input
    derivations: tuple[Derivation, ...] = ()
    on_request: bool = False  # not run on a twin unless it is named
    only_with: str = ""  # a part of the twin without which it is not run unless it is named
    bands: Mapping[str, Mapping[str, Mapping[str, str]]] = {}  # scheme -> code -> text, source ...
    rows_only: bool = False  # never answers on a twin, which cannot hold what it needs
    # How long a result may be shown as current (None: for ever), and what may hang on it. The card
    # gives the reason for both; who declares neither gets the careful ones.
    shelf_life_days: int | None = 365
    stake: str = "high"
    codings: tuple[Mapping[str, str], ...] = ()  # what kind of assessment it is, in public codes
    ai_kinds: tuple[str, ...] = ()  # codes of HL7's AI device types
    requires_all: bool = False  # a variant's own optional inputs must be known
    predictor_scale: str = ""  # what contributions are measured on, "" if the model has none

    # -- to write -----------------------------------------------------------------------------

    @abstractmethod
    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """Outcomes, one row per target. Required inputs are known and in range; an optional
        input the variant uses may be NaN unless `requires_all`; all others are NaN. Refusals are
        written into the array that is returned."""

    # -- may be overridden --------------------------------------------------------------------

    def predictor(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """The scale on which contributions of inputs add up; the outcome itself by default."""
        return self.compute(columns, variant, targets)

    def derive(self, columns: dict[str, FloatArray]) -> dict[str, FloatArray]:
        """Fill inputs that were not given from those they can be computed of."""
        return columns

    def needs(self, variant: str, target: Target) -> frozenset[str]:
        """The inputs this outcome of this variant reads: all but parts and foreign optionals."""
        own = self.variants[variant]
        return frozenset(
            name
            for name, declared in self.inputs.items()
            if not declared.part and (not declared.optional or name in own)
        )

    def vectors(self) -> Sequence[Vector]:
        """Reference values from outside the model; the conformance check demands some."""
        return ()

    def category(
        self, target: Target, value: float, row: Mapping[str, float]
    ) -> tuple[str, str] | None:
        """Scheme and code of the named band a value falls in, for this row of inputs."""
        return None

    # -- given --------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Mapping[str, tuple[str, ...]]:
        """The settings of an installation that it reads, with the words each may have."""
        return {
            source["setting"]: declared.choices
            for declared in self.inputs.values()
            for source in declared.sources
            if "setting" in source
        }

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.inputs)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def _rules(self) -> Sequence[tuple[Choice, Positions]]:
        """How a variant is chosen, with the places of the inputs that it asks about."""
        places = self._places
        return [(rule, np.array([places[n] for n in rule.of], np.intp)) for rule in self.choices]

    @cached_property
    def _limits(self) -> _Limits:
        return _Limits.of(self.inputs.values())

    @cached_property
    def _order(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.variants)}

    def targets(self) -> tuple[Target, ...]:
        """All outcomes at all horizons."""
        return tuple(t for outcome in self.outcomes.values() for t in outcome.targets())

    def reported(self) -> tuple[Target, ...]:
        """The outcomes an assessment of a twin contains unless others are asked for."""
        return tuple(t for t in self.targets() if self.outcomes[t.outcome].report)

    def is_required(self, name: str, variant: str) -> bool:
        optional = self.inputs[name].optional
        return not optional or (self.requires_all and name in self.variants[variant])

    @cached_property
    def _everywhere(self) -> frozenset[str]:
        """Optional inputs of every variant: no other variant could do without a wrong value."""
        return frozenset.intersection(*(frozenset(own) for own in self.variants.values()))

    def prepare(self, columns: Columns) -> dict[str, FloatArray]:
        """All declared columns, unknown where not given, derived inputs filled in."""
        rows = len(next(iter(columns.values())))
        empty = np.full(rows, np.nan)
        complete = {
            name: np.asarray(columns[name], dtype=np.float64) if name in columns else empty
            for name in self.inputs
        }
        return self.derive(complete)

    def usable(self, prepared: Columns) -> BoolArray:
        """Inputs x rows: known, and inside the widest published range."""
        return self._limits.inside(self._together(prepared))

    def choose(self, usable: BoolArray) -> IntArray:
        """The variant of each row, by the rule the model publishes."""
        chosen = np.full(usable.shape[1], -1, dtype=np.int16)
        for rule, places in self._rules:
            known = usable[places].sum(axis=0)
            open_rows = (chosen < 0) & (known >= rule.known_at_least)
            chosen[open_rows] = self._order[rule.variant]
        return chosen

    def predict(
        self,
        columns: Columns,
        *,
        variant: str | None = None,
        targets: Sequence[Target] | None = None,
    ) -> Prediction:
        """Answer or refuse every row. `variant` overrides the published rule of choice."""
        wanted = tuple(self.targets() if targets is None else targets)
        return self.predict_prepared(self.prepare(columns), variant, wanted)

    def predict_prepared(
        self, prepared: Columns, variant: str | None, wanted: tuple[Target, ...]
    ) -> Prediction:
        """The same, of columns that `prepare` has made complete."""
        usable = self.usable(prepared)
        order = list(self.variants)
        variants = self._variants(usable, variant)
        overridden = variant is not None
        if (variants == variants[0]).all():
            return self._answer(prepared, usable, variants, order[variants[0]], wanted, overridden)
        rows = len(variants)
        found = Prediction(wanted, variants, np.empty((len(wanted), rows)), *_none(wanted, rows))
        for index in np.unique(variants):
            here = np.flatnonzero(variants == index)
            own = {name: values[here] for name, values in prepared.items()}
            part = self._answer(
                own, usable[:, here], variants[here], order[index], wanted, overridden
            )
            found.values[:, here] = part.values
            found.reasons[:, here] = part.reasons
            found.blame[:, here] = part.blame
        return found

    def refuse_all(
        self, prepared: Columns, variant: str | None, wanted: tuple[Target, ...], reason: str
    ) -> Prediction:
        """No row is answered, whatever its values: nothing is computed."""
        variants = self._variants(self.usable(prepared), variant)
        reasons, blame = _none(wanted, len(variants))
        reasons[:] = _CODES[reason]
        return Prediction(wanted, variants, np.full(reasons.shape, np.nan), reasons, blame)

    def respond(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """Outcomes with every input moved to the nearest end of its published range.

        For the spread around an answer and for comparisons of inputs, never for an answer.
        """
        return self.compute(self.settle(columns, variant), variant, targets)

    def settle(self, columns: Columns, variant: str) -> dict[str, FloatArray]:
        """What `respond` computes of these: all inputs, each inside its published range."""
        moved = self._together(self.prepare(columns)).clip(*self._limits.ends)
        known = ~np.isnan(moved)
        gaps = self._doubtful(known)
        return {
            name: self._fill(name, moved[place], known[place] if name in gaps else None, variant)
            for name, place in self._places.items()
        }

    # -- inside -------------------------------------------------------------------------------

    def _together(self, columns: Columns) -> FloatArray:
        """Inputs x rows."""
        return np.array([columns[name] for name in self.names])

    def _variants(self, usable: BoolArray, variant: str | None) -> IntArray:
        """Of each row: the one asked for, or by the published rule."""
        if variant is None:
            return self.choose(usable)
        return np.full(usable.shape[1], self._order[variant], dtype=np.int16)

    def _answer(
        self,
        own: Columns,
        usable: BoolArray,
        variants: IntArray,
        variant: str,
        targets: tuple[Target, ...],
        overridden: bool,
    ) -> Prediction:
        """For rows of one variant."""
        doubtful = self._doubtful(usable)
        reasons, blame = _none(targets, len(variants))
        judged: dict[tuple[int | None, tuple[str, ...]], tuple[IntArray, IntArray]] = {}
        for index, target in enumerate(targets):
            asked = self._in_doubt(doubtful, variant, target)
            key = (target.horizon, asked)
            if asked and key not in judged:
                judged[key] = self._refuse(own, usable, variant, target, asked, overridden)
            if asked:
                reasons[index], blame[index] = judged[key]
        if (reasons != GIVEN).all():  # one patient who lacks an input: usually
            return Prediction(targets, variants, np.full(reasons.shape, np.nan), reasons, blame)
        filled = {
            name: self._fill(name, own[name], usable[place] if name in doubtful else None, variant)
            for name, place in self._places.items()
        }
        values = _own(self.compute(filled, variant, targets))
        np.copyto(values, np.nan, where=reasons != GIVEN)
        lost = ~np.isfinite(values)
        if lost.any():
            reasons[lost & (reasons == GIVEN)] = _CODES["no-equation"]
            values[lost] = np.nan
        return Prediction(targets, variants, values, reasons, blame)

    def _in_doubt(self, doubtful: Set[str], variant: str, target: Target) -> tuple[str, ...]:
        """The inputs for which not every row is sure to be answered, in their order."""
        reads = _reads(self, variant, target)
        return tuple(name for name, always in reads if always or name in doubtful)

    def _doubtful(self, usable: BoolArray) -> set[str]:
        """The inputs that not every row has."""
        sure: list[bool] = np.logical_and.reduce(usable, axis=1).tolist()
        return {name for name, everywhere in zip(self.names, sure, strict=True) if not everywhere}

    def _fill(
        self, name: str, values: FloatArray, usable: BoolArray | None, variant: str
    ) -> FloatArray:
        """What `compute` may see: never a value out of range, never a foreign optional input.
        `usable`: None where all are."""
        declared = self.inputs[name]
        if declared.optional and name not in self.variants[variant]:
            return _all(np.nan, len(values))
        if usable is None:
            return values
        stand_in = np.nan if not self.is_required(name, variant) else declared.reference or 0.0
        if not usable.any():
            return _all(stand_in, len(values))
        return np.where(usable, values, stand_in)

    def _refuse(
        self,
        own: Columns,
        usable: BoolArray,
        variant: str,
        target: Target,
        asked: Sequence[str],
        overridden: bool,
    ) -> tuple[IntArray, IntArray]:
        """The first reason of each row: what cannot be mended (a range) before what can.

        `asked` are the inputs in doubt.
        """
        rows = len(own[asked[0]])
        reasons = np.full(rows, GIVEN, dtype=np.int16)
        blame = np.full(rows, NOBODY, dtype=np.int16)
        for name in asked:
            if self.is_required(name, variant) or overridden or name in self._everywhere:
                outside = ~np.isnan(own[name]) & ~self._in_range(name, own[name], usable, target)
                _mark(reasons, blame, outside, "out-of-range", self._places[name])
        for name in asked:
            if self.is_required(name, variant):
                _mark(reasons, blame, np.isnan(own[name]), "missing-input", self._places[name])
            declared = self.inputs[name]
            for choice, reason in declared.refuses.items():
                here = own[name] == declared.choices.index(choice)
                _mark(reasons, blame, here, reason, self._places[name])
        return reasons, blame

    def _in_range(
        self, name: str, values: FloatArray, usable: BoolArray, target: Target
    ) -> BoolArray:
        declared = self.inputs[name]
        narrower = declared.bounds_at.get(target.horizon or 0)
        if narrower is None:
            return np.asarray(usable[self._places[name]])
        low, high = narrower
        return np.asarray((values >= low) & (values <= high))


@lru_cache(maxsize=4096)
def _reads(model: Model, variant: str, target: Target) -> tuple[tuple[str, bool], ...]:
    """The inputs an outcome reads, in their order; of each, whether it is in doubt at any value."""
    needed = model.needs(variant, target)
    declared = ((name, one) for name, one in model.inputs.items() if name in needed)
    return tuple((n, target.horizon in one.bounds_at or bool(one.refuses)) for n, one in declared)


def _ends(declared: Input) -> tuple[float, float]:
    """The least and the most an input may be: any finite number, where nothing is published."""
    if declared.flag:
        return 0.0, 1.0
    if declared.choices:
        return 0.0, len(declared.choices) - 1.0
    return declared.bounds or (-LARGEST, LARGEST)


def _own(values: FloatArray) -> FloatArray:
    """As an array that may be written to; what `compute` has made anew is not copied."""
    return np.require(values, np.float64, ["OWNDATA", "WRITEABLE"])


def _all(value: float, rows: int) -> FloatArray:
    """One value everywhere; of many rows it is held once."""
    return np.full(rows, value) if rows < MANY else np.broadcast_to(value, rows)


def _none(targets: Sequence[Target], rows: int) -> tuple[IntArray, IntArray]:
    """Reasons and blame where nothing is refused."""
    shape = (len(targets), rows)
    return np.full(shape, GIVEN, dtype=np.int16), np.full(shape, NOBODY, dtype=np.int16)


def _mark(reasons: IntArray, blame: IntArray, where: BoolArray, reason: str, position: int) -> None:
    fresh = where & (reasons == GIVEN)
    np.copyto(reasons, _CODES[reason], where=fresh)
    np.copyto(blame, position, where=fresh)
