"""The privacy officer's desk: what was removed and kept, gate, ledger, policies, keys."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from flask import render_template

from privacy.policy import Policy, load_policy, policy_ids
from service.auth import Role, Scope
from service.auth.principals import PSEUDONYM
from service.pages import words
from service.pages.blueprint import pages
from service.web.audiences import closed
from service.web.errors import KINDS, WebError
from service.web.gate import principal
from service.web.ports import Failure, LedgerCheck, Run
from service.web.services import services, settings

Json = Mapping[str, Any]
RUNS = 20
ENTRIES = 200
PATHS = 15  # of what was removed or changed most, on the desk

_OFFICER = closed(Scope.LEDGER_READ, roles=(Role.PRIVACY_OFFICER,), page=True)


@dataclass(frozen=True, slots=True)
class RunRow:
    state: str
    ended_well: bool
    problem: str
    server: str
    how: str
    pulled: int
    kept: int
    dropped: int
    seconds: str
    when: str


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One line of the ledger."""

    seq: int
    event: str
    twin: str
    policy: str
    kept: int
    changed: int
    removed: int
    refused: int
    passed: bool
    gate: str


@dataclass(frozen=True, slots=True)
class PathRow:
    type: str
    path: str
    action: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Leaves by what was done with them."""

    kept: int
    changed: int
    removed: int


@pages.get("/privacy")
@_OFFICER
def privacy() -> str:
    return _desk(None)


@pages.post("/privacy/verification")
@_OFFICER
def verify_now() -> str:
    """Verify the whole ledger now and show the desk with what was found."""
    return _desk(services().runs.verify_ledger(principal()))


@pages.get("/privacy/twins/<pseudonym>")
@_OFFICER
def privacy_twin(pseudonym: str) -> str:
    if not PSEUDONYM.fullmatch(pseudonym):
        raise WebError(Failure.NOT_FOUND)
    runs = services().runs
    entries = runs.ledger(pseudonym)
    if not entries:
        raise WebError(Failure.NOT_FOUND)
    runs.note_use(principal(), "ledger.read", pseudonym)
    return render_template(
        "privacy_twin.html",
        pseudonym=pseudonym,
        entries=[(entry, entry_row(entry), path_rows([entry])) for entry in reversed(entries)],
        uses=Counter(
            _use(event.role, event.action) for event in runs.uses(pseudonym, 1000)
        ).most_common(),
    )


def _desk(check: LedgerCheck | None) -> str:
    runs = services().runs
    entries = runs.ledger_entries(ENTRIES)
    return render_template(
        "privacy.html",
        check=check,
        runs=[run_row(run) for run in runs.runs(RUNS)],
        entries=[entry_row(entry) for entry in entries],
        blocked=sum(entry.get("event") == "twin-blocked" for entry in entries),
        totals=totals(entries),
        paths=path_rows(entries)[:PATHS],
        types=type_rows(entries),
        policies=policies(entries),
        default_policy=settings().policy.default,
        keys=services().jwks()["keys"],
        limit=ENTRIES,
    )


def _use(role: str, action: str) -> tuple[str, str]:
    return words.ROLES.get(role, role), words.word("use", action)


# -- runs ------------------------------------------------------------------------------------------


def run_row(run: Run) -> RunRow:
    return RunRow(
        state=words.word("state", run.state.value),
        ended_well=run.error is None,
        problem=problem(run.error),
        server=run.server or "",
        how="command line" if run.kind == "command-line" else "service",
        pulled=run.counts.get("pulled", 0),
        kept=run.counts.get("kept", 0),
        dropped=run.counts.get("dropped", 0),
        seconds=_seconds(run),
        when=f"{run.created.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    )


def problem(code: str | None) -> str:
    if code is None:
        return ""
    return KINDS[code].title if code in KINDS else words.plain(code)


def _seconds(run: Run) -> str:
    if run.started is None or run.finished is None:
        return ""
    return f"{(run.finished - run.started).total_seconds():.1f} s"


# -- ledger ----------------------------------------------------------------------------------------


def entry_row(entry: Json) -> EntryRow:
    sums = totals([entry])
    gate = entry.get("gate", {})
    return EntryRow(
        seq=entry["seq"],
        event=EVENTS.get(entry["event"], words.plain(entry["event"])),
        twin=entry.get("twin", ""),
        policy=f"{entry['policy']['id']} {entry['policy']['version']}" if "policy" in entry else "",
        kept=sums.kept,
        changed=sums.changed,
        removed=sums.removed,
        refused=sum(item["n"] for item in entry.get("refusals", ())),
        passed=bool(gate.get("passed", True)),
        gate=_gate(gate),
    )


EVENTS = {"twin-made": "twin made", "twin-blocked": "twin blocked by the gate"}


def _gate(gate: Json) -> str:
    if not gate:
        return ""
    searched = words.counted(gate.get("searched", 0), "identifying value")
    if gate["passed"]:
        return f"passed; {searched} searched for, none found"
    return f"blocked; {searched} searched for, {len(gate['hits'])} found"


def kind_of(action: str) -> str:
    """`removed`, `changed` or `kept`: what an action of a policy amounts to."""
    if action.startswith(("drop", "refuse")):
        return "removed"
    return "changed" if action in _CHANGING else "kept"


_CHANGING = frozenset(
    {"offset", "pseudonym", "reference", "subject", "about", "birth", "death", "age", "medication"}
)


def totals(entries: Iterable[Json]) -> Totals:
    sums: Counter[str] = Counter()
    for entry in entries:
        for item in entry.get("counts", ()):
            sums[kind_of(item["action"])] += item["n"]
    return Totals(sums["kept"], sums["changed"], sums["removed"])


def path_rows(entries: Iterable[Json]) -> list[PathRow]:
    """Every place and what was done there, the most frequent first."""
    sums: Counter[tuple[str, str, str]] = Counter()
    for entry in entries:
        for item in entry.get("counts", ()):
            sums[item["type"], item["path"], item["action"]] += item["n"]
    return [
        PathRow(kind, path, action_words(action), kind_of(action), count)
        for (kind, path, action), count in sums.most_common()
    ]


def action_words(action: str) -> str:
    """`drop:unknown-code` becomes `removed: unknown code`."""
    name, _, detail = action.partition(":")
    return words.word("action", name) + (f": {words.plain(detail).lower()}" if detail else "")


def type_rows(entries: Sequence[Json]) -> list[tuple[str, Totals]]:
    """Totals by resource type."""
    sums: dict[str, Counter[str]] = {}
    for entry in entries:
        for item in entry.get("counts", ()):
            sums.setdefault(item["type"], Counter())[kind_of(item["action"])] += item["n"]
    return [
        (kind, Totals(found["kept"], found["changed"], found["removed"]))
        for kind, found in sorted(sums.items())
    ]


# -- policies --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy as it is installed, and how many ledger entries were made under exactly it."""

    policy: Policy
    entries: int


def policies(entries: Iterable[Json]) -> list[PolicyUse]:
    used = Counter(e["policy"]["digest"] for e in entries if "policy" in e)
    shipped = [load_policy(name) for name in policy_ids()]
    return [PolicyUse(policy, used[policy.digest]) for policy in shipped]
