"""Printable audit reports: of one twin, of a period, of everything; as a page and as a PDF."""

from datetime import date

from flask import Response, render_template

from service.office.blocks import Report
from service.pages import bars
from service.pages.officer.frame import (
    OFFICER,
    day,
    midnight,
    note,
    office,
    officer,
    only,
    wrong,
)
from service.pages.officer.report_period import Period, period_report
from service.pages.officer.report_twin import twin_report
from service.pages.officer.twins import numbers_of
from service.web.gate import principal
from service.web.services import services

VERIFIED_ANEW = 20_000  # entries up to which a report verifies the ledger itself


@officer.get("/reports")
@OFFICER
def reports() -> str:
    only()
    return render_template("officer/reports.html", entries=services().runs.ledger_state().entries)


@officer.get("/reports/whole")
@OFFICER
def whole_report() -> str:
    only()
    return _page(_period(Period()))


@officer.get("/reports/whole.pdf")
@OFFICER
def whole_pdf() -> Response:
    only()
    return _pdf(_period(Period()))


@officer.get("/reports/period")
@OFFICER
def period_page() -> str:
    return _page(_period(_asked()))


@officer.get("/reports/period.pdf")
@OFFICER
def period_pdf() -> Response:
    return _pdf(_period(_asked()))


@officer.get("/twins/<pseudonym>/report")
@OFFICER
def twin_page(pseudonym: str) -> str:
    only()
    return _page(_twin(pseudonym))


@officer.get("/twins/<pseudonym>/report.pdf")
@OFFICER
def twin_pdf(pseudonym: str) -> Response:
    only()
    return _pdf(_twin(pseudonym))


def _twin(pseudonym: str) -> Report:
    numbers = numbers_of(pseudonym)
    note("report-made", pseudonym)
    return twin_report(office(), pseudonym, numbers)


def _period(period: Period) -> Report:
    runs = services().runs
    state = runs.ledger_state()
    check = runs.verify_ledger(principal()) if state.entries <= VERIFIED_ANEW else None
    note("report-made")
    return period_report(office(), period, state, check)


def _asked() -> Period:
    only("from", "to")
    first, last = day("from"), day("to")
    if first is None or last is None:
        raise wrong("from" if first is None else "to", "Give the first and the last day.")
    if last < first:
        raise wrong("to", "The last day lies before the first.")
    return Period(first, last, midnight(first), midnight(last, after=True))


def _page(report: Report) -> str:
    return render_template("officer/report.html", report=report, bar=bars.shares, today=date)


def _pdf(report: Report) -> Response:
    from service.office.pdf import as_pdf  # 20 MB that no other page, and no command, needs

    response = Response(as_pdf(report), content_type="application/pdf")
    response.headers["Content-Disposition"] = 'attachment; filename="privacy-report.pdf"'
    return response
