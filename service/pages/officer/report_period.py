"""The audit report of a period, or of everything. It names no twin: beside a day, a pseudonym
would give back every date in the twin."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import orjson

from privacy.explain import amounts_to
from privacy.policy import load_policy, policy_ids
from service.office import Office
from service.office.blocks import Amounts, Block, Facts, Report, Section, Table, Text
from service.pages import words
from service.pages.officer.report_parts import (
    ORDER,
    WHAT_THIS_IS,
    place_table,
    placed,
    policy_section,
    remains_section,
    risk_blocks,
    type_table,
    verify_steps,
)
from service.pages.officer.runs import problem, safety_words
from service.pages.officer.stopped import hit
from service.pages.officer.twins import use_words
from service.stores.audit import AuditFilter
from service.stores.ledger_index import Leaf, Place, entry_of, leaves_of
from service.stores.runs import RunFilter
from service.web.ports import LedgerCheck, LedgerState

SHOWN = 60  # places in the table
SILENT = frozenset({"report-made", "ledger-verify", "audit-read", "ledger.read"})


@dataclass(frozen=True, slots=True)
class Period:
    """From the first moment of a day to the last of another; neither: everything there is."""

    first: date | None = None
    last: date | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def name(self) -> str:
        if self.first is None:
            return "the whole installation"
        return f"{self.first.isoformat()} to {self.last.isoformat() if self.last else ''} (UTC)"


@dataclass(frozen=True, slots=True)
class Found:
    """What the entries of the period add up to, read once."""

    events: Counter[str]
    policies: Counter[str]
    places: list[Place]
    refusals: Counter[tuple[str, str]]
    hits: Counter[tuple[str, str]]
    undated: int


def period_report(
    office: Office, period: Period, state: LedgerState, check: LedgerCheck | None
) -> Report:
    found = read(office, period)
    return Report(
        title="Privacy audit report",
        subject=f"Period: {period.name}",
        sections=[
            _short(office, period, found),
            policy_section(office.archive.named(found.policies)),
            _done(found),
            _stopped(office, period, found),
            _access(office, period),
            _risk(office),
            _proof(office, state, check),
            verify_steps(
                "Export the ledger (console, Ledger and keys; or twinport ledger export FILE): "
                "everything counted here is in its entries. The public keys are attached to the "
                "PDF (jwks.json)."
            ),
            remains_section(),
        ],
        files={"jwks.json": orjson.dumps(office.jwks())},
    )


def read(office: Office, period: Period) -> Found:
    """One pass over the entries of the period; a report may read them, a page may not."""
    found = Found(Counter(), Counter(), [], Counter(), Counter(), 0)
    sums: Counter[Leaf] = Counter()
    in_entries: Counter[Leaf] = Counter()
    for line in _lines(office, period):
        entry = entry_of(line)
        found.events[str(entry.get("event"))] += 1
        digest = entry.get("policy", {}).get("digest")
        if digest:
            found.policies[digest] += 1
        leaves = leaves_of(entry)
        sums.update(leaves)
        in_entries.update(leaves.keys())
        for item in entry.get("refusals", ()):
            found.refusals[item["type"], item["reason"]] += item["n"]
        for one in entry.get("gate", {}).get("hits", ()):
            found.hits[one["path"], one["rule"]] += 1
    places = [
        Place(*leaf, amounts_to(leaf[3]), in_entries[leaf], n, 0)
        for leaf, n in sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    undated = office.index.undated() if period.start else 0
    return Found(found.events, found.policies, places, found.refusals, found.hits, undated)


def _lines(office: Office, period: Period) -> Iterator[bytes]:
    if period.start is None or period.end is None:
        yield from office.ledger.lines()
        return
    for numbers in office.index.numbers(period.start, period.end):
        yield from office.ledger.entries(numbers)


def _short(office: Office, period: Period, found: Found) -> Section:
    where = RunFilter(start=period.start, end=period.end)
    states = office.runs.counts(where)
    runs = ", ".join(f"{n:,} {words.word('state', state)}" for state, n in sorted(states.items()))
    sums: Counter[str] = Counter()
    for place in found.places:
        sums[place.amount] += place.leaves
    rows = [
        ("Period", period.name),
        ("Runs", runs or "none"),
        *(
            (words.word("event", event).capitalize(), f"{n:,}")
            for event, n in sorted(found.events.items())
        ),
    ]
    if found.undated:
        rows.append(("Entries of no known day", f"{found.undated:,}, counted in no period"))
    blocks: list[Block] = [Text(WHAT_THIS_IS), Facts(rows)]
    if period.start is not None:
        blocks.append(
            Text(
                "This report names no twin: a pseudonym beside a day would give back every date of "
                "the twin. Keep it apart from twins that are handed out."
            )
        )
    if sums.total():
        blocks += [
            Text("What became of the elements of all records:"),
            Amounts({amount: sums[amount] for amount in ORDER}),
        ]
    return Section("In short", blocks)


def _done(found: Found) -> Section:
    if not found.places:
        return Section("What was done", [Text("No record was de-identified.")])
    caption = f"The {min(SHOWN, len(found.places))} most frequent of {len(found.places)} places"
    return Section(
        "What was done",
        [type_table(found.places), place_table(caption, placed(found.places[:SHOWN]))],
    )


def _stopped(office: Office, period: Period, found: Found) -> Section:
    blocks = [_blocked(found)]
    if found.refusals:
        refused = [
            (kind, words.plain(reason).lower(), f"{n:,}")
            for (kind, reason), n in sorted(found.refusals.items())
        ]
        heads = ("Resource type", "Why it was refused", "How many")
        blocks.append(Table("Resources refused", heads, refused, (4, 7, 2), right=frozenset({2})))
    failed = office.runs.problems(RunFilter(start=period.start, end=period.end))
    if failed:
        why = [(problem(code), f"{n:,}") for code, n in sorted(failed.items())]
        blocks.append(Table("Runs that failed", ("Why", "How many"), why, (9, 2), frozenset({1})))
    return Section("What was stopped", [*blocks, *_safety(office, period)])


def _blocked(found: Found) -> Block:
    """By place and rule; which twins they were is not told."""
    if not found.hits:
        return Text("The gate blocked no twin.")
    rows = [
        (path, rule, hit(path, rule).meaning, f"{n:,}")
        for (path, rule), n in sorted(found.hits.items())
    ]
    heads = ("Place in the twin", "Rule", "What that means", "How often")
    right, mono = frozenset({3}), frozenset({0, 1})
    return Table("Twins blocked by the gate", heads, rows, (5, 4, 6, 2), right=right, mono=mono)


def _safety(office: Office, period: Period) -> list[Block]:
    where = AuditFilter(action="safety-event", start=period.start, end=period.end)
    counts = Counter(event.outcome for event in office.audit.events(where))
    if not counts:
        return [Text("No safety event: no record of another person and no merge was met.")]
    rows = [(*safety_words(outcome)[:2], f"{n:,}") for outcome, n in sorted(counts.items())]
    heads = ("Safety event", "Resource type", "How many")
    return [Table("Safety events", heads, rows, (7, 4, 2), right=frozenset({2}))]


def _access(office: Office, period: Period) -> Section:
    where = AuditFilter(start=period.start, end=period.end)
    rows = [
        (*use_words(role, action), f"{n:,}")
        for (role, action), n in sorted(office.audit.counts(where).items())
        if action not in SILENT
    ]
    heads = ("Who", "What", "How often")
    done = Table("", heads, rows, (3, 8, 2), right=frozenset({2}))
    blocks: list[Block] = [
        done if rows else Text("Nobody did anything."),
        Text("Reading the audit and the ledger, verifying and reporting are left out."),
    ]
    return Section("Who did what", blocks)


def _risk(office: Office) -> Section:
    blocks: list[Block] = [Text("Of the twins held now, measured and not asserted:")]
    for policy in office.index.policies_used():
        if policy in policy_ids() and load_policy(policy).files.twins:
            blocks += risk_blocks(office.measured.held(policy))
    blocks.append(
        Text(
            "Class sizes are compared, never ratios: 11 is published beside 0.09, although one in "
            "11 is 0.0909."
        )
    )
    return Section("Risk", blocks)


def _proof(office: Office, state: LedgerState, check: LedgerCheck | None) -> Section:
    rows = [
        ("Entries of the whole ledger", f"{state.entries:,}"),
        ("Its last entry", state.head or "none"),
        ("Verified", _verified(state, check)),
    ]
    keys = [
        (key.kid, "signs now" if not key.until else "retired: still verifies what it signed")
        for key in office.keys().signing
    ]
    heads = ("Thumbprint (RFC 7638)", "State")
    return Section(
        "Proof",
        [
            Facts(rows, frozenset({"Its last entry"})),
            Table("Public keys of this installation", heads, keys, (6, 5), mono=frozenset({0})),
        ],
    )


def _verified(state: LedgerState, check: LedgerCheck | None) -> str:
    if check is not None:
        if check.ok:
            return f"for this report: whole; {check.entries:,} entries, every signature and link"
        return f"for this report: IT DOES NOT VERIFY; {check.problems[0]}"
    if state.verified is None:
        return "not yet: the ledger is long, verify it first (Ledger and keys)"
    how = "whole" if state.verified.ok else "IT DID NOT VERIFY"
    return f"last time: {how}, {state.verified.entries:,} entries"
