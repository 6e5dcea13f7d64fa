"""The pages in a real Chromium: accessible, without scripts, by keyboard, small, dark, printed.

Whoever opens a window signs in through the form with a one-time code, on a real port.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pages_browser import CONTRAST, DESK, Reader, open_details, too_small, too_wide, violations
from pages_site import AWKWARD, FULL, PARTIAL, REFUSED, Site
from playwright.sync_api import Browser, Page

from service.auth import Role

pytestmark = pytest.mark.browser

EXPLAIN = "/clinic/twins/{twin}/versions/1/explain/"
PAGES = [
    (None, "/sign-in", FULL),
    (Role.EHR, "/clinic", FULL),
    (Role.EHR, "/clinic/twins/{twin}", FULL),
    (Role.EHR, "/clinic/twins/{twin}", PARTIAL),
    (Role.EHR, "/clinic/twins/{twin}", REFUSED),
    (Role.EHR, "/clinic/twins/nothing", FULL),
    (Role.EHR, EXPLAIN + "systolic-bp", FULL),
    (Role.EHR, EXPLAIN + "urine-albumin-creatinine-ratio", AWKWARD),
    (Role.EHR, EXPLAIN + "hypertension", FULL),
    (Role.EHR, "/clinic/twins/{twin}/whatif/prevent", FULL),
    (Role.PATIENT, "/me", FULL),
    (Role.PATIENT, "/me", REFUSED),
]
NAMES = [f"{role}:{path}:{patient}" for role, path, patient in PAGES]


# -- accessibility, and every width ----------------------------------------------------------------


Desk = Callable[[Role | None, str], tuple[Reader, Page]]


@pytest.fixture(scope="module")
def desk(site: Site, base: str, browser: Browser) -> Iterator[Desk]:
    """One signed-in window for all pages of a person: signing in is tried below, often enough."""
    yield from _desk(site, base, browser, bypass_csp=True)  # the checker itself is a script


@pytest.fixture(scope="module")
def strict_desk(site: Site, base: str, browser: Browser) -> Iterator[Desk]:
    """The same, under our policy of content."""
    yield from _desk(site, base, browser)


def _desk(site: Site, base: str, browser: Browser, **how: object) -> Iterator[Desk]:
    opened: dict[tuple[Role | None, str], tuple[Reader, Page]] = {}

    def of(role: Role | None, patient: str) -> tuple[Reader, Page]:
        whose = (role, patient if role is Role.PATIENT else "")
        if whose not in opened:
            reader = Reader(site, base, browser, [])
            opened[whose] = reader, reader.open(role, "/", patient, **how)
        return opened[whose]

    yield of
    for _, page in opened.values():
        page.context.close()


def go(desk: tuple[Reader, Page], path: str, patient: str) -> Page:
    reader, page = desk
    reader.said.clear()
    page.goto(reader.base + path.format(twin=reader.site.twins[patient]))
    return page


@pytest.mark.parametrize(("role", "path", "patient"), PAGES, ids=NAMES)
def test_a_page_is_accessible_in_light_and_dark_and_fits_every_width(
    desk: Desk, axe: str, role: Role | None, path: str, patient: str
) -> None:
    page = go(desk(role, patient), path, patient)
    assert violations(page, axe) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, axe, CONTRAST) == []
    page.emulate_media(color_scheme="light")
    for width in (1280, 820, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert too_wide(page) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width == 390:
            assert too_small(page) == []
    page.set_viewport_size(DESK)


def test_the_checker_finds_what_is_wrong(reader: Reader, axe: str) -> None:
    page = reader.open(None, "/sign-in", FULL, bypass_csp=True)
    page.evaluate("document.querySelector('label').remove()")
    assert [told.partition(":")[0] for told in violations(page, axe)] == ["label"]


@pytest.mark.parametrize(("role", "path", "patient"), PAGES, ids=NAMES)
def test_nothing_is_refused_by_the_content_policy_and_nothing_fails(
    strict_desk: Desk, role: Role | None, path: str, patient: str
) -> None:
    reader, page = window = strict_desk(role, patient)
    go(window, path, patient)
    page.wait_for_load_state("networkidle")
    expected = [text for text in reader.said if "404" in text and path.endswith("nothing")]
    assert reader.said == expected


# -- keyboard --------------------------------------------------------------------------------------


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_the_first_stop_of_the_keyboard_leads_to_the_content(reader: Reader) -> None:
    page = reader.open(Role.EHR, "/clinic", FULL)
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    inside = page.evaluate("document.getElementById('main').contains(document.activeElement)")
    assert inside


def test_the_keyboard_goes_through_the_page_in_reading_order(reader: Reader) -> None:
    page = reader.open(Role.EHR, "/clinic/twins/{twin}", FULL)
    stops = []
    for _ in range(6):
        page.keyboard.press("Tab")
        stops.append(focused(page))
    assert stops == ["Skip to content", "Twinport", "Twins", "API", "Sign out", "What was asked"]


def test_what_moved_a_result_opens_by_keyboard(reader: Reader) -> None:
    page = reader.open(Role.EHR, "/clinic/twins/{twin}", FULL)
    page.locator("summary", has_text="Why").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".bars").first.is_visible()


def test_the_focus_is_always_seen(reader: Reader) -> None:
    page = reader.open(Role.PRIVACY_OFFICER, "/privacy", FULL)
    for _ in range(8):
        page.keyboard.press("Tab")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width == "3px", focused(page)


# -- without scripts, small, printed ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "path", "text"),
    [
        (Role.EHR, "/clinic/twins/{twin}", "Within 10 years"),
        (Role.PATIENT, "/me", "Show my result"),
        (Role.PRIVACY_OFFICER, "/privacy", "Verify the ledger"),
    ],
)
def test_everything_is_there_without_scripts(
    reader: Reader, role: Role, path: str, text: str
) -> None:
    page = reader.open(role, path, FULL, java_script_enabled=False)
    assert text in page.content()
    if role is Role.PATIENT:
        page.locator("summary", has_text="10 years").click()
        assert page.get_by_text("Think of 100 people").first.is_visible()
    if role is Role.PRIVACY_OFFICER:
        page.get_by_role("button", name="Verify the ledger").click()
        assert page.get_by_text("The ledger is whole.").is_visible()


def test_a_printed_result_is_not_folded_away(reader: Reader) -> None:
    page = reader.open(Role.PATIENT, "/me", FULL)
    answer = page.get_by_text("Think of 100 people").first
    assert not answer.is_visible()
    page.emulate_media(media="print")
    assert answer.is_visible()
    assert not page.get_by_role("button", name="Sign out").is_visible()


def test_text_of_twice_the_size_loses_nothing(reader: Reader) -> None:
    page = reader.open(Role.EHR, "/clinic/twins/{twin}", FULL)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    open_details(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


# -- the way of each person ------------------------------------------------------------------------


def test_a_patient_downloads_the_bytes_the_service_signed(reader: Reader) -> None:
    page = reader.open(Role.PATIENT, "/me", FULL)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download my twin").click()
    download = waiting.value
    assert download.suggested_filename == "twin.json"
    assert Path(download.path()).read_bytes() == reader.site.service.twin(reader.site.twins[FULL])


def test_a_patient_cannot_open_the_clinicians_pages(reader: Reader) -> None:
    page = reader.open(Role.PATIENT, "/clinic/twins/{twin}", FULL)
    assert page.get_by_role("heading", level=1).inner_text() == "This caller may not do this"
    assert "mmHg" not in page.content()


def test_a_clinician_goes_from_the_list_to_a_twin_and_signs_out(reader: Reader) -> None:
    page = reader.open(Role.EHR, "/clinic", FULL)
    page.get_by_role("link", name=reader.site.twins[FULL]).click()
    assert page.get_by_role("heading", level=1).inner_text() == "Female, 54 years"
    page.get_by_role("button", name="Sign out").click()
    page.goto(reader.base + "/clinic")
    assert page.url.endswith("/sign-in?next=/clinic")


def test_a_wrong_code_is_told_and_the_right_one_still_works(reader: Reader) -> None:
    page = reader.open(None, "/sign-in", FULL)
    page.get_by_label("One-time code").fill("WRONG-CODE")
    page.get_by_role("button", name="Sign in").click()
    assert "does not work" in page.get_by_role("alert").inner_text()
    page.get_by_label("One-time code").fill(reader.site.code(Role.EHR))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/clinic")


def test_an_officer_goes_from_the_desk_to_one_twin(reader: Reader) -> None:
    page = reader.open(Role.PRIVACY_OFFICER, "/privacy", FULL)
    page.get_by_role("link", name=reader.site.twins[FULL]).click()
    assert page.get_by_role("heading", level=1).inner_text() == "Proof of one twin"
    assert page.get_by_text("passed:").first.is_visible()
