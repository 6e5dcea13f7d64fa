"""Twins and their proofs: one line for each entry of the ledger, one page for each twin."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import render_template, request

from privacy.explain import Amount, amounts_to
from privacy.policy import policy_ids
from service.auth.principals import PSEUDONYM
from service.office.proofs import Proven
from service.pages import bars, words
from service.pages.officer.frame import (
    OFFICER,
    PSEUDONYM_PART,
    PSEUDONYM_WHAT,
    choice,
    matching,
    note,
    office,
    officer,
    only,
    page_asked,
)
from service.stores.audit import AuditFilter
from service.stores.ledger_index import Entry, EntryFilter
from service.web.errors import WebError
from service.web.ports import Failure

Json = Mapping[str, Any]
GATE = {"passed": True, "blocked": False}
ENTRIES_SHOWN = 20  # of one twin on one page


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    entry: Entry
    event: str
    policy: str
    bar: object


@dataclass(frozen=True, slots=True)
class PathRow:
    """What was done at one place of a record."""

    element: str
    action: str
    amount: Amount
    count: int


@officer.get("/twins")
@OFFICER
def twins() -> str:
    only("twin", "event", "policy", "gate")
    desk, pages = office(), page_asked()
    events = desk.index.events()
    gate = choice("gate", GATE)
    where = EntryFilter(
        event=choice("event", events),
        policy=choice("policy", policy_ids()),
        twin=matching("twin", PSEUDONYM_PART, PSEUDONYM_WHAT),
        passed=None if gate is None else GATE[gate],
    )
    found, total = desk.index.entries(where, limit=pages.size, offset=pages.offset)
    return render_template(
        "officer/twins.html",
        rows=[row(entry) for entry in found],
        pages=pages.of(total),
        events=sorted((event, words.word("event", event)) for event in events),
        policies=policy_ids(),
        narrowed=any(request.args.get(name) for name in ("twin", "event", "policy", "gate")),
    )


@officer.get("/twins/<pseudonym>")
@OFFICER
def twin(pseudonym: str) -> str:
    only()
    desk, numbers = office(), numbers_of(pseudonym)
    note("ledger.read", pseudonym)
    proven = [desk.proofs.entry(number) for number in numbers[-ENTRIES_SHOWN:]]
    shown = [entry for entry in reversed(proven) if entry is not None]
    erased = [entry for entry in shown if entry.entry.get("event") == "erased"]
    about = AuditFilter(object=pseudonym)
    return render_template(
        "officer/twin.html",
        pseudonym=pseudonym,
        proven=shown,
        sound=all(entry.ok for entry in shown),
        older=max(0, len(numbers) - ENTRIES_SHOWN),
        erased=erased[0] if erased else None,
        held=desk.twins.versions(pseudonym),
        entry_words=entry_words,
        path_rows=path_rows,
        sums=sums,
        bar=bars.shares,
        uses=[(use_words(*key), n) for key, n in sorted(desk.audit.counts(about).items())],
        requests=[r for r in desk.requests.requests() if r.twin == pseudonym],
    )


def numbers_of(pseudonym: str) -> list[int]:
    """The entries about a twin; a twin nobody knows is not found."""
    numbers = office().index.about(pseudonym) if PSEUDONYM.fullmatch(pseudonym) else []
    if not numbers:
        raise WebError(Failure.NOT_FOUND)
    return numbers


def row(entry: Entry) -> Row:
    shares = {Amount.REMOVED: entry.removed, Amount.CHANGED: entry.changed, Amount.KEPT: entry.kept}
    return Row(
        entry=entry,
        event=words.word("event", entry.event),
        policy=f"{entry.policy} {entry.policy_version}" if entry.policy else "",
        bar=bars.shares(f"e{entry.seq}", shares, small=True),
    )


def entry_words(proven: Proven) -> dict[str, Any]:
    """What stands at the head of an entry."""
    entry, gate = proven.entry, proven.entry.get("gate", {})
    return {
        "seq": entry.get("seq"),
        "event": words.word("event", str(entry.get("event"))),
        "blocked": gate.get("passed") is False,
        "gate": _gate(gate),
        "sums": sums([entry]),
        "refused": sum(item["n"] for item in entry.get("refusals", ())),
    }


def _gate(gate: Json) -> str:
    if not gate:
        return ""
    searched = words.counted(gate.get("searched", 0), "identifying value")
    if gate["passed"]:
        return f"passed: {searched} of the source searched for, none found"
    return f"blocked: {searched} of the source searched for, {len(gate['hits'])} found"


def sums(entries: Iterable[Json]) -> dict[Amount, int]:
    found: Counter[Amount] = Counter()
    for entry in entries:
        for item in entry.get("counts", ()):
            found[amounts_to(item["action"])] += item["n"]
    return {amount: found[amount] for amount in (Amount.REMOVED, Amount.CHANGED, Amount.KEPT)}


def path_rows(entry: Json) -> Sequence[tuple[str, list[PathRow]]]:
    """Place by place, gathered by resource type; the most frequent first."""
    by_type: dict[str, list[PathRow]] = {}
    for item in sorted(entry.get("counts", ()), key=lambda item: -item["n"]):
        action = item["action"]
        place = PathRow(
            f"{item['type']}.{item['path']}", action_words(action), amounts_to(action), item["n"]
        )
        by_type.setdefault(item["type"], []).append(place)
    return sorted(by_type.items())


def action_words(action: str) -> str:
    """`drop:unknown-code` becomes `removed: unknown code`."""
    name, _, detail = action.partition(":")
    return words.word("action", name) + (f": {words.plain(detail).lower()}" if detail else "")


def use_words(role: str, action: str) -> tuple[str, str]:
    return words.ROLES.get(role, words.plain(role)), words.word("use", action)
