"""Answers of the version before that still stand, so that their models need not be asked again.

All that a model sees of a twin goes through `gather`: values, how old each has become, where it
came from, what may have been missed, what excludes. Where none of that has changed since, and
neither has the model nor what is asked of it, it would say the same to the letter: its answer is
carried over. In any doubt it is asked. `tests/models/test_models_carry.py` holds one against the
other.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from twin_engine.models.cards import card_digest
from twin_engine.models.contract import Model, Target
from twin_engine.models.inputs import Gathered, gather
from twin_engine.state import State

Json: TypeAlias = Mapping[str, Any]
Settings: TypeAlias = Mapping[str, str]
_MADE_UNDER = ("policy", "schema", "software", "timeUnit")


class Before:
    """The version of a twin before, and what its answers were made of."""

    def __init__(self, document: Json) -> None:
        self._state = State(document)
        self._answers = document["assessments"]
        self._under = [document["twin"][name] for name in _MADE_UNDER]

    def answer(
        self,
        state: State,
        model: Model,
        variant: str | None,
        targets: tuple[Target, ...],
        settings: Settings,
    ) -> dict[str, Any] | None:
        """What the model said then, as of now; None: it is to be asked."""
        told = self._recorded(model)
        if told is None or not self._is_comparable(state):
            return None
        if _targets(told) != set(targets) or stated(model, told) != _own(model, settings):
            return None
        now = gather(state, model, settings)
        if _variant(model, variant, now) != told["model"]["variant"]:
            return None
        if _read(now, state) != _read(gather(self._state, model, settings), self._state):
            return None
        return _as_of(told, self._state, state)

    def _recorded(self, model: Model) -> Json | None:
        """By this very model, and the only one by it."""
        made = [one for one in self._answers if one["model"]["id"] == model.id]
        if len(made) != 1 or made[0]["model"]["version"] != model.version:
            return None
        return made[0] if made[0]["model"]["card"] == card_digest(model) else None

    def _is_comparable(self, state: State) -> bool:
        """Made by the same software, with its vocabulary, under the same policy."""
        return [state.document["twin"][name] for name in _MADE_UNDER] == self._under


def stated(model: Model, told: Json) -> dict[str, str]:
    """The settings the installation that made it had: they stand among the inputs."""
    words = {one["input"]: one["value"] for one in told["inputs"] if one["how"] == "configured"}
    return {
        source["setting"]: words[name]
        for name, declared in model.inputs.items()
        for source in declared.sources
        if "setting" in source and name in words
    }


def _own(model: Model, settings: Settings) -> dict[str, str]:
    return {name: settings[name] for name in model.settings if name in settings}


def _targets(told: Json) -> set[Target]:
    answered = [*told["results"], *told["refusals"]]
    return {Target(one["outcome"], one.get("horizonYears")) for one in answered}


def _variant(model: Model, asked: str | None, now: Gathered) -> str:
    if asked is not None:
        return asked
    position: int = model.choose(model.usable(model.prepare(now.columns)))[0]
    return list(model.variants)[position]


def _read(found: Gathered, state: State) -> tuple[Any, ...]:
    """All that was read, in a form that can be compared: NaN equals NaN, and a source is named by
    its pseudonym, because its place in the document changes."""
    ids = state.source_ids
    values = [
        (name, repr(one.value), one.how, one.t, one.age_days, sorted(ids[i] for i in one.sources))
        for name, one in found.found.items()
    ]
    return values, dict(found.problems), found.barrier, dict(found.unseen)


def _as_of(told: Json, then: State, now: State) -> dict[str, Any]:
    """The same answer in the document of now."""
    place = {name: index for index, name in enumerate(now.source_ids)}

    def moved(used: Json) -> Json:
        if "src" not in used:
            return used
        return {**used, "src": sorted(place[then.source_ids[index]] for index in used["src"])}

    told = {name: value for name, value in told.items() if name != "silent"}
    return told | {"at": now.now, "inputs": [moved(used) for used in told["inputs"]]}
