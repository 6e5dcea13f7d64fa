"""What models looked for and could not use, and which of it would help most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.pages import words
from service.pages.assessed import last_seen, rank
from service.pages.explained import concept_of
from service.pages.times import TwinClock

Json = Mapping[str, Any]
MENDABLE = frozenset({"missing-input", "stale-input", "censored-input", "set-aside-input"})


@dataclass(frozen=True, slots=True)
class Lack:
    """One input that no model could use, for which of them, and whether it would help most."""

    title: str
    concept: str
    seen: str
    models: str
    helps: bool


def lacking(document: Json, cards: Mapping[str, Json]) -> list[Lack]:
    """What was looked for and not found, or not usable; what would help most comes first."""
    return _lacking(sorted(words.shown(document), key=rank), document, cards)


def of_one(item: Json, document: Json, card: Json) -> list[Lack]:
    """What one model could not use."""
    return _lacking([item], document, {item["model"]["id"]: card})


def _lacking(items: Iterable[Json], document: Json, cards: Mapping[str, Json]) -> list[Lack]:
    wanted: dict[str, list[Json]] = {}
    for item in items:
        refused = [r["input"] for r in item["refusals"] if r["reason"] in MENDABLE and "input" in r]
        for name in dict.fromkeys([*item["missing"], *refused]):
            wanted.setdefault(name, []).append(item)
    found = [_lack(name, items, document, cards) for name, items in wanted.items()]
    return sorted(found, key=lambda lack: not lack.helps)


def _lack(name: str, items: Sequence[Json], document: Json, cards: Mapping[str, Json]) -> Lack:
    known = [cards.get(item["model"]["id"], {}) for item in items]
    inputs = [one for card in known for one in card.get("inputs", ()) if one["input"] == name]
    value, when = last_seen(name, document, TwinClock.of(document))
    titles = [
        words.model_title(item["model"]["id"], card)
        for item, card in zip(items, known, strict=True)
    ]
    return Lack(
        title=words.model_input(name),
        concept=concept_of({}, inputs[0]["from"] if inputs else (), document),
        seen=f"last {value}, {when}" if value else "not in the record",
        models=words.listed(titles),
        helps=any(item.get("helps") == name for item in items),
    )
