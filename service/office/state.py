"""Is everything in order, and if not, what is to be done? Short questions, answered by indexes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from privacy.policy import load_policy, policy_ids
from service.office.office import Office
from service.patient.erasure import ASKED
from service.reidentify.reasons import REASONS
from service.stores.audit import AuditFilter
from service.stores.ledger_index import EntryFilter
from service.stores.reidentify import Reidentification, ReidentificationState
from service.web.ports import LedgerState

RECENT = timedelta(days=30)
ASKED_SHOWN = 20  # of the newest requests to be erased
NEW_ENTRIES = 1000  # since the ledger was verified last
REFUSED = ("same-person", "not-allowed")  # how tries to re-identify end that were not allowed


class Level(StrEnum):
    ACT = "act"  # somebody has to do something
    LOOK = "look"  # somebody should have a look


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not in order, and the next step. `where` names the page that leads on."""

    level: Level
    what: str
    next: str
    where: str


@dataclass(frozen=True, slots=True)
class View:
    """What the questions are asked of."""

    office: Office
    ledger: LedgerState
    subject: str
    now: datetime


def findings(view: View) -> list[Finding]:
    """What needs doing comes first."""
    found = [finding for question in QUESTIONS for finding in question(view)]
    return sorted(found, key=lambda finding: finding.level is not Level.ACT)


def _ledger(view: View) -> Iterator[Finding]:
    state = view.ledger
    if not state.entries:
        return
    if state.verified is None:
        yield Finding(
            Level.LOOK,
            "The ledger has not been verified yet.",
            "Verify it: every signature and every link is checked.",
            "ledger",
        )
    elif not state.verified.ok:
        yield Finding(
            Level.ACT,
            "The ledger did not verify.",
            "See what was found, keep the export and the database as they are, and find out "
            "who had access to them.",
            "ledger",
        )
    elif view.now - state.verified.at > RECENT or _new(state) > NEW_ENTRIES:
        yield Finding(
            Level.LOOK,
            f"{_new(state):,} entries were added since the ledger was verified last.",
            "Verify it again.",
            "ledger",
        )


def _new(state: LedgerState) -> int:
    return state.entries - (state.verified.entries if state.verified else 0)


def _blocked(view: View) -> Iterator[Finding]:
    number = view.office.index.still_blocked()
    if number:
        one = number == 1
        yield Finding(
            Level.ACT,
            f"{number} {'twin is' if one else 'twins are'} blocked: identity stood in the "
            "finished document.",
            "See place and rule, have the source or the rule corrected, and run again.",
            "stopped",
        )


def _safety(view: View) -> Iterator[Finding]:
    recent = AuditFilter(action="safety-event", start=view.now - RECENT)
    number = view.office.audit.count(recent)
    if number:
        yield Finding(
            Level.LOOK,
            f"{number} safety {'event' if number == 1 else 'events'} in the last 30 days: records "
            "of another person, or merged ones.",
            "See which servers and types; tell whoever runs the server if it goes on.",
            "stopped",
        )


def _requests(view: View) -> Iterator[Finding]:
    open_now = [
        request
        for request in view.office.requests.requests()
        if request.state in {ReidentificationState.WAITING, ReidentificationState.APPROVED}
        and request.expires > view.now
    ]
    for request in open_now:
        finding = _request(request, view.subject)
        if finding is not None:
            yield finding


def _request(request: Reidentification, subject: str) -> Finding | None:
    mine = request.requested_by == subject
    if request.state is ReidentificationState.WAITING and not mine:
        return Finding(
            Level.ACT,
            "Somebody asks who a twin is: " + REASONS.get(request.reason, request.reason) + ".",
            "Approve or refuse it before it expires.",
            "requests",
        )
    if request.state is ReidentificationState.APPROVED and mine:
        return Finding(
            Level.LOOK,
            "Your request to re-identify a twin was approved.",
            "Read the answer, which is shown once, before the approval expires.",
            "requests",
        )
    return None


def _refused_tries(view: View) -> Iterator[Finding]:
    start = view.now - RECENT
    tries = [
        event
        for action in ("reidentify", "reidentify-decide")
        for event in view.office.audit.search(AuditFilter(action=action, start=start))
        if event.outcome in REFUSED
    ]
    if tries:
        number = len(tries)
        yield Finding(
            Level.LOOK,
            f"{number} {'try' if number == 1 else 'tries'} to re-identify somebody "
            f"{'was' if number == 1 else 'were'} refused in the last 30 days.",
            "See in the audit who tried, and ask why.",
            "audit",
        )


def _risk(view: View) -> Iterator[Finding]:
    """Of the policies under which twins are held: how many are in classes below what is wanted."""
    for policy in view.office.index.policies_used():
        if policy not in policy_ids() or not load_policy(policy).files.twins:
            continue
        level = next(lv for lv in view.office.measured.desk.thresholds(policy) if lv["chosen"])
        if not level["met"] and level["below"]:
            yield Finding(
                Level.LOOK,
                f"Under {policy}, {level['below']:.0%} of the twins share what an outsider may "
                f"know with fewer than {level['k']} twins.",
                "Share nothing of them outside a closed environment, or set another threshold "
                "with a reason.",
                "risk",
            )


def _erasures(view: View) -> Iterator[Finding]:
    """What patients asked for on their own page, until it is done."""
    for event in view.office.audit.search(AuditFilter(action=ASKED), limit=ASKED_SHOWN):
        done = EntryFilter(event="erased", twin=event.object)
        if not view.office.index.entries(done, limit=1)[1]:
            yield Finding(
                Level.ACT,
                "A patient asks to be erased.",
                f"Open the twin {event.object} and choose Erase the way back.",
                "erasures",
            )


QUESTIONS = (_ledger, _blocked, _requests, _erasures, _refused_tries, _safety, _risk)
