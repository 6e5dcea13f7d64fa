"""The officer's tasks in a real Chromium; every page light, dark, small and printed."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pages_browser import CONTRAST, PHONE, Reader, readers, too_small, too_wide, violations
from pages_shots import OFFICER as READ_ONLY
from pages_site import FULL, PERSON, Site
from playwright.sync_api import Browser, Page
from test_pages_officer import block

from privacy.policy import load_policy
from service.auth import Role

pytestmark = pytest.mark.browser

OFFICER = Role.PRIVACY_OFFICER
TWIN = "/privacy/twins/{twin}"
PAGES = [
    "/privacy",
    "/privacy/twins",
    TWIN,
    f"{TWIN}/risk",
    f"{TWIN}/report",
    f"{TWIN}/erasure",
    "/privacy/elements?q=birth",
    "/privacy/elements/Patient.address",
    "/privacy/stopped",
    "/privacy/runs",
    "/privacy/runs/{run}",
    "/privacy/policies",
    "/privacy/policies/safe-harbor",
    "/privacy/policies/compare?one=safe-harbor&other=limited-data-set",
    "/privacy/identifiers",
    "/privacy/risk",
    "/privacy/requests",
    "/privacy/erasures",
    "/privacy/audit",
    "/privacy/ledger",
    "/privacy/ledger/1",
    "/privacy/reports",
    "/privacy/reports/whole",
    "/privacy/twins/nothing",
]


# Between them these hold every part of the style sheet.
IN_THE_DARK = {"/privacy", TWIN, "/privacy/risk", "/privacy/stopped", "/privacy/requests"}
STRICT = ["/privacy", TWIN, f"{TWIN}/report", "/privacy/risk", "/privacy/ledger"]


@pytest.fixture(scope="module")
def desk(site: Site, base: str, browser: Browser) -> Iterator[tuple[Reader, Page]]:
    """One signed-in window for all the pages: signing in is tried elsewhere."""
    reader = Reader(site, base, browser, [])
    page = reader.open(OFFICER, "/privacy", FULL, bypass_csp=True)
    yield reader, page
    page.context.close()


def address(site: Site, path: str) -> str:
    return path.format(twin=site.twins[FULL], run=site.service.runs(1)[0].id)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_in_light_and_dark_and_fits_every_width(
    desk: tuple[Reader, Page], axe: str, path: str
) -> None:
    reader, page = desk
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(reader.base + address(reader.site, path))
    assert violations(page, axe) == []
    if path in IN_THE_DARK:
        page.emulate_media(color_scheme="dark")
        assert violations(page, axe, CONTRAST) == []
    for width in (1280, 820, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert too_wide(page) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert too_small(page) == []
    page.emulate_media(color_scheme="light")


def test_the_policy_of_content_is_kept(reader: Reader) -> None:
    page = reader.open(OFFICER, "/privacy", FULL)
    for path in STRICT:
        page.goto(reader.base + address(reader.site, path))
    page.wait_for_load_state("networkidle")
    assert reader.said == []


# -- tasks ---------------------------------------------------------------------------------------


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def tab_to(page: Page, text: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width == "3px", focused(page)
        if focused(page) == text:
            return
    raise AssertionError(f"the keyboard does not come to {text}")


def test_the_ledger_is_verified_by_keyboard_alone(reader: Reader) -> None:
    page = reader.open(OFFICER, "/privacy", FULL, java_script_enabled=True)
    tab_to(page, "Verify the ledger")
    page.keyboard.press("Enter")
    page.wait_for_url("**/verification")
    assert page.get_by_role("status").get_by_text("The ledger is whole.").is_visible()


def test_an_element_is_looked_up(reader: Reader) -> None:
    page = reader.open(OFFICER, "/privacy", FULL, java_script_enabled=False)
    page.get_by_role("link", name="Elements", exact=True).click()
    page.get_by_label("Path or words of it").fill("patient birth")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="Patient.birthDate", exact=True).click()
    assert page.get_by_text("45 CFR 164.514(b)(2)(i)(C)").first.is_visible()
    assert page.get_by_role("row", name="turned into completed years").first.is_visible()


def test_from_a_list_to_a_proof_to_a_report_in_the_hand(reader: Reader, tmp_path: Path) -> None:
    page = reader.open(OFFICER, "/privacy/twins", FULL)
    page.get_by_label("Twin, or its beginning").fill(reader.site.twins[FULL][:8])
    page.get_by_label("Gate").select_option("passed")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name=reader.site.twins[FULL]).click()
    assert page.get_by_text("Verified just now:").is_visible()
    page.get_by_role("link", name="Audit report").click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="As a PDF").click()
    pdf = tmp_path / "report.pdf"
    waiting.value.save_as(pdf)
    assert tool("pdftotext", pdf, "-").startswith("Privacy audit report of one twin")
    tree = tool("pdfinfo", "-struct-text", pdf)
    assert 'H1 (block)\n    "Privacy audit report of one twin"' in tree
    assert tree.count("H2 (block)") == 9
    assert "TD\n" in tree
    assert "Tagged:          yes" in tool("pdfinfo", pdf)
    assert "ledger-excerpt.jsonl" in tool("pdfdetach", "-list", pdf)
    tool("pdftoppm", "-r", "30", "-png", pdf, tmp_path / "page")
    assert len(list(tmp_path.glob("page-*.png"))) > 3


def tool(name: str, *arguments: object) -> str:
    found = shutil.which(name)
    assert found, "Reading PDFs needs poppler: apt-get install poppler-utils (Debian, Ubuntu)."
    ran = subprocess.run(
        [found, *map(str, arguments)], capture_output=True, check=True, timeout=300
    )
    return ran.stdout.decode()


def test_a_printed_report_is_the_report_alone(reader: Reader) -> None:
    page = reader.open(OFFICER, f"{TWIN}/report", FULL)
    page.emulate_media(media="print")
    for gone in ("Privacy office", "As a PDF"):
        assert not page.get_by_role("link", name=gone, exact=True).is_visible()
    assert page.get_by_role("heading", name="Proof", exact=True).is_visible()


@pytest.fixture
def house(acting: Site, browser: Browser) -> Iterator[Reader]:
    """An installation of its own, in which things may be changed."""
    with readers(acting, browser) as reader:
        yield reader


def person(reader: Reader, name: str, **how: object) -> Page:
    page = reader.window(**how).new_page()
    page.goto(reader.base + "/")
    page.get_by_label("One-time code").fill(reader.site.code(OFFICER, person=name))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/privacy")
    return page


def test_two_people_without_scripts_find_out_who_a_twin_is_and_one_erases_it(
    house: Reader, picture: Callable[[Page, str], None]
) -> None:
    ada = person(house, "ada", java_script_enabled=False)
    ben = person(house, "ben", java_script_enabled=False, viewport=PHONE)
    twin = house.site.twins[PERSON]
    ask(ada, house, twin, "emergency treatment")
    ben.goto(f"{house.base}/privacy")
    ben.get_by_role("link", name="Re-identification : Somebody asks").click()
    ben.get_by_role("button", name="Refuse").click()
    assert ben.get_by_text("refused", exact=True).is_visible()
    ask(ada, house, twin, "patient safety")
    ben.goto(f"{house.base}/privacy/requests")
    picture(ben, "officer-requests")
    ben.get_by_role("button", name="Approve").click()
    ada.goto(f"{house.base}/privacy/requests")
    ada.get_by_role("button", name="Show me the answer, once").click()
    assert ada.get_by_text(f"Patient/{PERSON}").is_visible()
    assert PERSON not in ada.url
    ada.goto(f"{house.base}/privacy/requests")
    assert PERSON not in ada.content()
    ada.goto(f"{house.base}/privacy/twins/{twin}")
    ada.get_by_role("link", name="Erase the way back").click()
    ada.get_by_label("Type the twin's pseudonym to go on").fill(twin)
    ada.get_by_role("button", name="Erase").click()
    assert ada.get_by_role("heading", name="Certificate: entry").is_visible()


def ask(page: Page, reader: Reader, twin: str, reason: str) -> None:
    page.goto(f"{reader.base}/privacy/twins/{twin}")
    page.get_by_role("link", name="Ask who this is").click()
    page.get_by_label("Reason").select_option(label=reason)
    page.get_by_role("button", name="Ask").click()


def test_a_blocked_twin_is_the_first_thing_an_officer_sees(
    house: Reader, picture: Callable[[Page, str], None]
) -> None:
    block(house.site, house.site.twins[PERSON])
    page = person(house, "ada")
    first = page.locator(".todo li").first
    assert "1 twin is blocked" in first.inner_text()
    first.get_by_role("link").click()
    row = page.get_by_role("row", name="conditions[].code")
    assert "a name or part of an address, in base64" in row.inner_text()
    picture(page, "officer-stopped")


def test_policies_are_compared_in_words(reader: Reader) -> None:
    page = reader.open(OFFICER, "/privacy/policies", FULL)
    page.get_by_label("with", exact=True).select_option(
        label=f"limited-data-set {load_policy('limited-data-set').version}"
    )
    page.get_by_role("button", name="Show the differences").click()
    patient = page.locator("details", has=page.locator("summary", has_text="Patient:"))
    if patient.get_attribute("open") is None:  # few types are shown open, many closed
        patient.locator("summary").click()
    row = page.get_by_role("row", name="Patient.address").first
    assert "country, state and five digits of a US ZIP code" in row.inner_text()


def test_what_risk_is_held_against_is_decided_and_drawn(house: Reader) -> None:
    page = person(house, "ada")
    page.get_by_role("link", name="Risk, measured", exact=True).click()
    assert page.locator("svg.plot").count() >= 4
    assert page.get_by_role("img", name="Twins by size of their class").is_visible()


def test_each_page_has_its_picture(reader: Reader, picture: Callable[[Page, str], None]) -> None:
    page = reader.open(OFFICER, "/privacy", FULL)
    for name, path in READ_ONLY.items():
        page.goto(reader.base + address(reader.site, path))
        picture(page, name)
