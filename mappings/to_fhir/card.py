"""What is read of a model's card, tolerant of what else it holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mappings.to_fhir.wording import plain
from mappings.vocabulary.systems import NAMES, uri

Json = Mapping[str, Any]

PROBABILITY, QUANTITY, SCORE = "probability", "quantity", "score"
RECOMMENDATION = "recommendation"


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """One outcome as a resource needs it."""

    id: str
    label: str
    kind: str
    codings: tuple[dict[str, str], ...]
    about: dict[str, str] | None = None  # the medicine a recommendation speaks of


class CardView:
    """A card beside the assessment made under it; the assessment names model and version."""

    def __init__(self, card: Json, assessment: Json) -> None:
        model = assessment["model"]
        self.id: str = model["id"]
        self.version: str = model["version"]
        self.variant: str = model.get("variant", "")
        self.title: str = card.get("title") or plain(self.id)
        self.code: str = f"{self.id}-{self.variant}" if self.variant else self.id
        self.text = paragraph_of(self.title, self.variant, self.version)
        self.about = tuple(map(_coding, card.get("codings", ())))
        self.ai_kinds: tuple[str, ...] = tuple(card.get("ai_kinds", ()))
        self._kind = card.get("kind", "")
        self._card = card
        self._bands: Json = card.get("bands", {})
        self._outcomes = _by_id(card.get("outcomes") or ())

    def outcome(self, result: Json) -> OutcomeView:
        """The outcome of one result; for an outcome the card does not name, its id is the label."""
        name = result["outcome"]
        declared = self._outcomes.get(name, {})
        return OutcomeView(
            id=name,
            label=declared.get("label") or plain(name).capitalize(),
            kind=declared.get("kind") or self._kind or _kind_of(result),
            codings=self._codings(declared),
            about=_coding(declared["about"]) if declared.get("about") else None,
        )

    def life_days(self, assessment: Json, per_day: int) -> int | None:
        """How many days after the record was read it may be shown as current: the model's shelf
        life, or until an input is older than it accepts. None: nothing ends it, or nobody knows."""
        windows = {one["input"]: one for one in self._card.get("inputs", ()) if one["window_days"]}
        ends = [
            windows[used["input"]]["window_days"] - (assessment["at"] - used["t"]) // per_day
            for used in assessment["inputs"]
            if used["input"] in windows and _ages(used, windows[used["input"]]["from"])
        ]
        shelf = self._card.get("shelf_life_days")
        return min(ends if shelf is None else [*ends, shelf], default=None)

    def said(self, category: Json) -> str:
        """The sentence, strength and source of a named band, where the card holds them."""
        band = self._bands.get(category["scheme"], {}).get(category["code"])
        if band is None:
            return ""
        strength = f"Strength: {band['strength']}." if band.get("strength") else ""
        return " ".join(filter(None, (band["text"], strength, band.get("source", ""))))

    def _codings(self, declared: Json) -> tuple[dict[str, str], ...]:
        """The codes whose meaning covers the outcome: for all variants, or for this one."""
        own = declared.get("codes", {}).get(self.variant)
        given = [*declared.get("codings", ()), *([own] if own else [])]
        return tuple(map(_coding, given))


_READINGS = frozenset({"measured", "derived", "reported"})


def _ages(used: Json, sources: Iterable[Json]) -> bool:
    """A reading or an answer grows old; a diagnosis, whose `t` is its start, does not."""
    return "t" in used and (used["how"] in _READINGS or all("coded" in one for one in sources))


def paragraph_of(title: str, variant: str, version: str) -> str:
    return f"{title}{f', {plain(variant)}' if variant else ''}, version {version}"


def _by_id(outcomes: Any) -> dict[str, Json]:
    """Outcomes as a mapping by id, or as a list of entries that name theirs."""
    if isinstance(outcomes, Mapping):
        return dict(outcomes)
    return {entry.get("outcome") or entry["id"]: entry for entry in outcomes}


def _coding(given: Json) -> dict[str, str]:
    system = given["system"]
    coding = {"system": uri(system) if system in NAMES else system, "code": given["code"]}
    return coding | ({"display": given["display"]} if given.get("display") else {})


def _kind_of(result: Json) -> str:
    """Where a card is silent: a number without unit and with a horizon is a probability."""
    if result.get("unit", "1") == "1" and "horizonYears" in result:
        return PROBABILITY
    return SCORE if result.get("unit") == "{score}" else QUANTITY
