"""The first page: is everything in order, and if not, what is to be done?"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from flask import render_template

from privacy.explain import Amount
from service.office.state import RECENT, Level, View, findings
from service.pages import bars
from service.pages.officer.frame import OFFICER, office, officer
from service.pages.officer.runs import row as run_row
from service.stores.ledger_index import EntryFilter, Place
from service.stores.runs import RunFilter
from service.web.gate import principal
from service.web.services import services, settings

LATEST = 6

WHERE = {
    "ledger": ("officer.ledger", "Ledger and keys"),
    "stopped": ("officer.stopped", "Stopped"),
    "requests": ("officer.requests", "Re-identification"),
    "erasures": ("officer.erasures", "Erasures"),
    "audit": ("officer.audit", "Audit"),
    "risk": ("officer.risk", "Risk, measured"),
}


@officer.get("")
@OFFICER
def overview() -> str:
    desk, now = office(), datetime.now(UTC)
    ledger = services().runs.ledger_state()
    found = findings(View(desk, ledger, principal().subject, now))
    events = desk.index.events()
    places = desk.index.places()
    recent, runs = desk.runs.search(RunFilter(start=now - RECENT), limit=LATEST)
    latest, _ = desk.index.entries(EntryFilter(), limit=LATEST)
    return render_template(
        "officer/overview.html",
        findings=found,
        acts=sum(finding.level is Level.ACT for finding in found),
        where=WHERE,
        ledger=ledger,
        events=events,
        twins=desk.twins.count(),
        sums=(sums := {amount: _sum(places, amount) for amount in Amount}),
        bar=bars.shares("sums", sums),
        runs=[run_row(run) for run in recent],
        runs_total=runs,
        states=desk.runs.counts_by_state(),
        latest=latest,
        default_policy=settings().policy.default,
        days=RECENT // timedelta(days=1),
    )


def _sum(places: Iterable[Place], amount: Amount) -> int:
    return sum(place.leaves for place in places if place.amount is amount)
