"""Audit reports stand alone, say the same again for the same state, and hold no value."""

import re
import zlib
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from pages_site import AWKWARD, FULL, PERSON, RECORD, Site
from sqlalchemy import update

from privacy.explain import Amount
from privacy.ledger import verify_ledger
from privacy.signing import VerificationKeys
from service.auth import Role
from service.office.blocks import Amounts, Checks, Facts, Report, Section, Steps, Table, Text
from service.office.pdf import as_pdf
from service.office.proofs import Check
from service.stores.ledger_index import EntryRow

OFFICER = Role.PRIVACY_OFFICER
pytestmark = pytest.mark.slow  # every report is made as a page and as a PDF


@pytest.fixture(scope="module")
def officer(site: Site) -> FlaskClient:
    return site.client(OFFICER)


def words_of(pdf: bytes) -> str:
    """What is shown on the pages of a PDF of ours, in reading order."""
    found = []
    for data in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.S):
        try:
            drawn = zlib.decompress(data)
        except zlib.error:
            continue  # an attachment
        found += re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", drawn)
    text = b" ".join(found).decode("windows-1252")
    return " ".join(re.sub(r"\\(.)", r"\1", text).split())


def files_of(pdf: bytes) -> bytes:
    return b"\n".join(re.findall(rb"stream\n(\{.*?)\nendstream", pdf, re.S))


@pytest.mark.parametrize("path", ["/privacy/twins/{twin}/report", "/privacy/reports/whole"])
def test_the_same_state_is_the_same_report_byte_by_byte(
    site: Site, officer: FlaskClient, path: str
) -> None:
    address = path.format(twin=site.twins[FULL])
    first, again = officer.get(address).data, officer.get(address).data
    assert re.sub(rb'name="csrf_token" value="[^"]+"', b"", first) == re.sub(
        rb'name="csrf_token" value="[^"]+"', b"", again
    )
    pdf, same = officer.get(f"{address}.pdf"), officer.get(f"{address}.pdf").data
    assert pdf.data == same
    assert pdf.mimetype == "application/pdf"
    assert pdf.headers["Content-Disposition"] == 'attachment; filename="privacy-report.pdf"'


def test_the_report_of_a_twin_stands_alone(site: Site, officer: FlaskClient) -> None:
    twin = site.twins[FULL]
    (entry,) = site.service.ledger(twin)
    page = officer.get(f"/privacy/twins/{twin}/report").text
    text = words_of(officer.get(f"/privacy/twins/{twin}/report.pdf").data)
    shown = [
        twin,
        entry["document"],
        entry["policy"]["digest"],
        "every check below holds",
        "45 CFR 164.514(b)(2)",
        "twinport ledger verify",
        "What remains",
        *(f"{item['type']}.{item['path']}" for item in entry["counts"]),
    ]
    for words in shown:
        assert words in page, words
        assert words.replace(" ", "") in text.replace(" ", ""), words


def test_the_report_of_a_twin_names_no_day(site: Site, officer: FlaskClient) -> None:
    for patient in (FULL, AWKWARD):
        address = f"/privacy/twins/{site.twins[patient]}/report"
        page = officer.get(address).text
        main = page[page.index("<main") : page.index("</main>")]
        assert not re.search(r"20\d\d-\d\d", main)
        assert not re.search(r"20\d\d-\d\d", words_of(officer.get(f"{address}.pdf").data))


def test_what_travels_in_the_pdf_verifies_offline(site: Site, officer: FlaskClient) -> None:
    pdf = officer.get(f"/privacy/twins/{site.twins[FULL]}/report.pdf").data
    lines = [line for line in files_of(pdf).split(b"\n") if line]
    (keys,) = (line for line in lines if line.startswith(b'{"keys"'))
    excerpt = [line for line in lines if line.startswith(b'{"entry"')]
    report = verify_ledger(excerpt, VerificationKeys(orjson.loads(keys)), whole=False)
    assert (report.problems, report.entries) == ([], 1)


def test_the_page_ends_with_the_signed_entries(site: Site, officer: FlaskClient) -> None:
    from html import unescape

    page = officer.get(f"/privacy/twins/{site.twins[FULL]}/report").text
    found = re.search(r'<pre class="mono excerpt">(.*?)</pre>', page, re.S)
    assert found is not None
    keys = VerificationKeys(site.service.runtime.jwks())
    report = verify_ledger(unescape(found[1]).encode().splitlines(), keys, whole=False)
    assert (report.problems, report.entries) == ([], 1)


def test_a_report_of_everything_adds_up(site: Site, officer: FlaskClient) -> None:
    entries = site.service.ledger_entries(100)
    text = words_of(officer.get("/privacy/reports/whole.pdf").data)
    total: dict[str, int] = {}
    for name in ("removed", "changed", "kept"):
        found = re.search(rf"{name} ([\d,]+) \(\d+%\)", text)
        assert found is not None, name
        total[name] = int(found[1].replace(",", ""))
    assert sum(total.values()) == sum(i["n"] for e in entries for i in e.get("counts", ()))
    assert "for this report: whole" in text
    assert not any(twin in text for twin in site.twins.values())


def dated(site: Site, day: str) -> None:
    from datetime import UTC, datetime

    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    with site.service.runtime.database.write() as session:
        session.execute(update(EntryRow).values(recorded=at))


def test_a_period_counts_what_was_recorded_in_it_and_names_no_twin(acting: Site) -> None:
    dated(acting, "2026-02-03T23:59:59")
    client = acting.client(OFFICER)
    inside = client.get("/privacy/reports/period?from=2026-02-03&to=2026-02-03").text
    assert "Twin made" in inside
    assert "names no twin" in inside
    assert acting.twins[PERSON] not in inside
    for period in ("from=2026-02-04&to=2026-03-01", "from=2025-01-01&to=2026-02-02"):
        outside = client.get(f"/privacy/reports/period?{period}").text
        assert "No record was de-identified." in outside


def test_entries_of_no_known_day_are_told(acting: Site) -> None:
    with acting.service.runtime.database.write() as session:
        session.execute(update(EntryRow).values(recorded=None))
    page = acting.client(OFFICER).get("/privacy/reports/period?from=2026-02-03&to=2026-02-03").text
    assert "1, counted in no period" in page


@pytest.mark.parametrize(
    "asked", ["", "from=2026-01-01", "from=2026-02-01&to=2026-01-01", "from=x&to=2026-01-01"]
)
def test_a_period_needs_its_two_days(officer: FlaskClient, asked: str) -> None:
    for kind in ("period", "period.pdf"):
        assert officer.get(f"/privacy/reports/{kind}?{asked}").status_code == 422


def test_no_value_of_the_record_is_in_any_report(acting: Site) -> None:
    client, twin = acting.client(OFFICER), acting.twins[PERSON]
    for path in (f"/privacy/twins/{twin}/report", "/privacy/reports/whole"):
        for text in (client.get(path).text, words_of(client.get(f"{path}.pdf").data)):
            for value in (PERSON, "Zorkmidt", "1961", "142", RECORD[1]["effectiveDateTime"]):
                digests = re.sub(r"[A-Za-z0-9_-]{22,}", "", text)
                assert not re.search(rf"(?<![\w.,-]){re.escape(str(value))}(?![\w.,-])", digests), (
                    value
                )


def test_making_a_report_is_an_event_and_does_not_change_it(acting: Site) -> None:
    client, twin = acting.client(OFFICER), acting.twins[PERSON]
    client.get(f"/privacy/twins/{twin}/report")
    events = [event.action for event in acting.service.uses(twin)]
    assert events[0] == "report-made"
    assert "report-made" not in client.get(f"/privacy/twins/{twin}/report").text


# -- the sheet -----------------------------------------------------------------------------------


def report(*blocks: Any) -> bytes:
    return as_pdf(Report("Title", "Subject", [Section("Section", blocks)]))


def test_every_kind_of_block_is_drawn() -> None:
    text = words_of(
        report(
            Text("A paragraph."),
            Facts([("Name", "value"), ("Digest", "sha256:" + "0" * 64)], frozenset({"Digest"})),
            Table("Caption", ("One", "Two"), [("a", "1"), ("b", "2")], (1, 1), frozenset({1})),
            Checks([Check("It holds", True), Check("It does not", False, "for a reason")]),
            Steps(["First this", "then that"]),
            Amounts({Amount.REMOVED: 3, Amount.CHANGED: 0, Amount.KEPT: 1}),
        )
    )
    assert "Title Subject Section A paragraph. Name value Digest sha256:" + "0" * 64 in text
    assert "Caption One Two a 1 b 2" in text
    assert "yes It holds NO It does not: for a reason 1. First this 2. then that" in text
    assert "removed 3 (75%), changed 0 (0%), kept 1 (25%)." in text


def test_a_long_table_goes_on_with_its_heads() -> None:
    rows = [(f"row {number}", str(number)) for number in range(120)]
    pdf = report(Table("", ("Row", "Number"), rows, (1, 1)))
    text = words_of(pdf)
    assert text.count("Row Number") == text.count("Twinport privacy report") == 3
    assert all(f"row {number} {number}" in text for number in range(120))


def test_what_the_fonts_do_not_have_is_written_otherwise() -> None:
    text = words_of(report(Text("✓ at most ≤ 3 → 4 – “quoted” 漢")))
    assert "yes at most <= 3 to 4 – “quoted” ?" in text


def test_a_broken_line_keeps_its_words_apart() -> None:
    """For those who are read to: a screen reader puts lines together as they are."""
    words = " ".join(f"word{number}" for number in range(60))
    pdf = report(Text(words))
    drawn = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", zlib.decompress(
        re.findall(rb"stream\n(.*?)\nendstream", pdf, re.S)[0]))  # fmt: skip
    assert words.encode() in b"".join(drawn)
