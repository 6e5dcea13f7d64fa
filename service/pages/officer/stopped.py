"""What was stopped: blocked twins by place and rule, and records that could mix up two persons."""

from dataclasses import dataclass

from flask import render_template

from service.pages import words
from service.pages.officer.frame import OFFICER, moment, office, officer, only, page_asked
from service.pages.officer.runs import safety_words
from service.stores.audit import AuditFilter
from service.stores.ledger_index import Entry, entry_of

EVENTS = 50  # safety events on the page; the audit has all of them


@dataclass(frozen=True, slots=True)
class Hit:
    """Where in the finished document, by which rule, and what it means. Never what was found."""

    path: str
    rule: str
    meaning: str
    next: str


@dataclass(frozen=True, slots=True)
class Blocked:
    entry: Entry
    hits: list[Hit]
    passed_later: bool


@officer.get("/stopped")
@OFFICER
def stopped() -> str:
    only()
    desk, pages = office(), page_asked(20)
    found, total = desk.index.blocked(limit=pages.size, offset=pages.offset)
    lines = desk.ledger.entries([entry.seq for entry, _ in found])
    hits = {entry["seq"]: entry["gate"]["hits"] for entry in map(entry_of, lines)}
    safety = AuditFilter(action="safety-event")
    return render_template(
        "officer/stopped.html",
        blocked=[
            Blocked(entry, [hit(h["path"], h["rule"]) for h in hits.get(entry.seq, ())], later)
            for entry, later in found
        ],
        pages=pages.of(total),
        still=desk.index.still_blocked(),
        safety=[
            (moment(event.time), event.object, *safety_words(event.outcome))
            for event in desk.audit.search(safety, limit=EVENTS)
        ],
        safety_total=desk.audit.count(safety),
    )


def hit(path: str, rule: str) -> Hit:
    """A rule is what was found and how it was hidden: `name-base64`, `pattern-date`."""
    if rule.startswith("pattern-"):
        return Hit(path, rule, words.word("gate", rule), words.explained("gate", "pattern"))
    kind, _, hidden = rule.partition("-")
    meaning = words.word("gate", kind) + (f", {words.word('hidden', hidden)}" if hidden else "")
    return Hit(path, rule, meaning, words.explained("gate", kind))
