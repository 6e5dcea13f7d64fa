"""Runs: when, from which server, how they ended. Never beside the twin they made."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import render_template

from service.pages import words
from service.pages.officer.frame import (
    OFFICER,
    choice,
    day,
    midnight,
    moment,
    office,
    officer,
    only,
    page_asked,
    wrong,
)
from service.stores.audit import AuditFilter
from service.stores.runs import Run, RunFilter, RunState
from service.web.errors import KINDS, WebError
from service.web.ports import Failure

KINDS_OF_RUN = {"run": "service", "command-line": "command line"}


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    state: str
    ended_well: bool
    problem: str
    next: str
    server: str
    how: str
    when: str
    seconds: str
    counts: Mapping[str, int]


@officer.get("/runs")
@OFFICER
def runs() -> str:
    only("state", "server", "how", "from", "to")
    desk, pages = office(), page_asked()
    servers = desk.runs.servers()
    start, end = day("from"), day("to")
    if start and end and end < start:
        raise wrong("to", "The last day lies before the first.")
    where = RunFilter(
        state=choice("state", [state.value for state in RunState]),
        server=choice("server", servers),
        kind=choice("how", KINDS_OF_RUN),
        start=midnight(start),
        end=midnight(end, after=True),
    )
    found, total = desk.runs.search(where, limit=pages.size, offset=pages.offset)
    return render_template(
        "officer/runs.html",
        runs=[row(run) for run in found],
        pages=pages.of(total),
        servers=servers,
        states=[(state.value, words.word("state", state.value)) for state in RunState],
        hows=KINDS_OF_RUN.items(),
    )


@officer.get("/runs/<run_id>")
@OFFICER
def run(run_id: str) -> str:
    desk = office()
    found = desk.runs.get(run_id)
    if found is None:
        raise WebError(Failure.NOT_FOUND)
    safety = desk.audit.search(AuditFilter(object=run_id, action="safety-event"))
    return render_template(
        "officer/run.html",
        run=row(found),
        found=found,
        stage=words.word("stage", found.stage) if found.stage else "",
        counts=[(words.word("run-count", name), n) for name, n in found.counts.items()],
        safety=[safety_words(event.outcome) for event in safety],
    )


def row(run: Run) -> Row:
    return Row(
        id=run.id,
        state=words.word("state", run.state.value),
        ended_well=run.error is None,
        problem=problem(run.error),
        next=KINDS[run.error].next_step if run.error and run.error in KINDS else "",
        server=run.server or "",
        how=KINDS_OF_RUN.get(run.kind, words.plain(run.kind)),
        when=moment(run.created),
        seconds=_seconds(run),
        counts=run.counts,
    )


def problem(code: str | None) -> str:
    if code is None:
        return ""
    return KINDS[code].title if code in KINDS else words.plain(code)


def _seconds(run: Run) -> str:
    if run.started is None or run.finished is None:
        return ""
    return f"{(run.finished - run.started).total_seconds():.1f} s"


def safety_words(outcome: str) -> tuple[str, str, str]:
    """Of `foreign-subject:Observation`: what happened, the type, and what to do."""
    kind, _, type_ = outcome.partition(":")
    return words.word("safety", kind), type_, words.explained("safety", kind)
