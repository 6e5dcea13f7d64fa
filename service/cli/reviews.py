"""`twinport reviews`: how clinicians and models agree, for the committee."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from service.cds.cards import REASONS as CARD_REASONS
from service.cds.heard import heard
from service.cli.output import emit
from service.pipeline.runtime import open_runtime
from service.review.reliance import NAMES, reliance
from service.review.verdicts import REASONS
from service.stores.cds import CdsStore
from service.stores.reviews import ReviewStore

Json = dict[str, Any]

LABELS = {
    "withoutEstimate": "no estimate given",
    "agreedBefore": "agreed before seeing it",
    "estimatedLower": "had thought lower",
    "estimatedHigher": "had thought higher",
    "accepted": "accepted",
    "overridden": "not accepted",
    "agreedAfter": "agreed after seeing it",
    "gaveUpOwnEstimate": "gave up an estimate that differed",
    "keptOwnEstimate": "kept an estimate that differed",
    "signsOfOverReliance": "gave it up although the answer came with a reason for doubt",
    "signsOfUnderReliance": "did not accept although nothing spoke against it",
}


@click.command("reviews")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model.")
@click.option("--cards", is_flag=True, help="What came back on CDS Hooks cards instead.")
def command(as_json: bool, cards: bool) -> None:
    """How clinicians' own estimates and each model's answers agreed, what was accepted, and how
    long it took. By model; nothing is told of few reviews or few people, nor ever of one person.

    Whether it was right to follow a model is known from outcomes alone: `twinport models validate`.
    """
    if cards:
        _cards(as_json)
        return
    runtime = open_runtime()
    try:
        settings = runtime.config.reviews
        found = reliance(
            ReviewStore(runtime.database).decided(),
            smallest=settings.smallest_cell,
            fewest_people=settings.fewest_people,
        )
    finally:
        runtime.close()
    _tell(found, lines, "no result has been reviewed yet", as_json)


def _cards(as_json: bool) -> None:
    runtime = open_runtime()
    try:
        outcomes = CdsStore(runtime.database).outcomes()
        found = heard(outcomes, smallest=runtime.config.reviews.smallest_cell)
    finally:
        runtime.close()
    _tell(found, card_lines, "nothing came back on any card yet", as_json)


def _tell(
    found: Sequence[Json], worded: Callable[[Json], list[str]], nothing: str, as_json: bool
) -> None:
    for one in found:
        if as_json:
            emit(one)
        else:
            click.echo("\n".join(worded(one)))
    if not found and not as_json:
        click.echo(nothing)


def card_lines(one: Json) -> list[str]:
    told = [f"{one['model']}: {one['cards']} cards answered"]
    reasons = one.get("reasons", {})
    return told + [
        f"  {number!s:>6}  because: {CARD_REASONS.get(reason, reason)}"
        for reason, number in reasons.items()
    ]


def lines(one: dict[str, object]) -> list[str]:
    if not one["enough"]:
        return [f"{one['model']}: too few to tell of; it takes {one['needs']}"]
    told = [f"{one['model']}: {one['reviews']} reviews"]
    told += [f"  {one[name]!s:>6}  {LABELS[name]}" for name in NAMES]
    reasons = one["reasons"]
    assert isinstance(reasons, dict)
    told += [f"  {n!s:>6}  because: {REASONS[reason].label}" for reason, n in reasons.items()]
    for name, what in (("secondsToEstimate", "to the estimate"), ("secondsToDecision", "from there "
                       "to the decision")):  # fmt: skip
        if one[name] is not None:
            told.append(f"  {one[name]:>5} s  {what} (median)")
    return told
