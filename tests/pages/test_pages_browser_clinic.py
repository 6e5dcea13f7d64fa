"""The clinician's pages in a real Chromium: the pause by keyboard alone, accessible at each step;
and the pictures of the documentation (`pytest -m browser --screenshots tests/pages`)."""

from collections.abc import Callable, Iterator

import pytest
from pages_browser import DESK, Reader, readers, too_small, too_wide, violations
from pages_shots import CLINIC, TABLET
from pages_site import FULL, Site, pausing
from playwright.sync_api import Browser, Page

from service.auth import Role

pytestmark = pytest.mark.browser


@pytest.fixture
def waiting(site: Site, browser: Browser) -> Iterator[Reader]:
    with readers(pausing(site), browser) as reader:
        yield reader


def sign_in(reader: Reader, person: str, path: str, **how: object) -> Page:
    page = reader.window(**how).new_page()
    page.goto(f"{reader.base}/")
    page.get_by_label("One-time code").fill(reader.site.access.codes.issue(Role.EHR, person=person))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    page.goto(reader.base + path.format(twin=reader.site.twins[FULL]))
    return page


def test_the_pause_takes_a_number_and_two_keys(waiting: Reader, axe: str) -> None:
    """Estimate and Enter; then Enter accepts. Nothing is touched by hand."""
    page = sign_in(waiting, "keys-1", "/clinic/twins/{twin}/review/prevent", bypass_csp=True)
    assert violations(page, axe) == []
    page.keyboard.type("4")
    page.keyboard.press("Enter")
    page.get_by_text("You and the model agree").wait_for()
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == "Accept the result"
    assert violations(page, axe) == []
    page.keyboard.press("Enter")
    page.get_by_text("Accepted today.").wait_for()
    assert violations(page, axe) == []


def test_each_page_has_its_picture(waiting: Reader, picture: Callable[[Page, str], None]) -> None:
    page = sign_in(waiting, "photographer", "/clinic/twins/{twin}/review/ckd-epi-2021")
    for name, path in CLINIC.items():
        page.goto(waiting.base + path.format(twin=waiting.site.twins[FULL]))
        picture(page, name)


TABLETS = ({"width": 1024, "height": 768}, {"width": 820, "height": 1180})


def test_on_a_tablet_nothing_is_cut_or_too_small_for_a_finger(
    waiting: Reader, picture: Callable[[Page, str], None]
) -> None:
    page = sign_in(waiting, "round-1", CLINIC["clinic-patient"], viewport=TABLETS[1])
    picture(page, *TABLET)
    for size in TABLETS:
        page.set_viewport_size(size)  # type: ignore[arg-type]
        for path in CLINIC.values():
            page.goto(waiting.base + path.format(twin=waiting.site.twins[FULL]))
            assert (too_wide(page), too_small(page)) == ([], []), (size, path)


def test_on_paper_nothing_is_cut_and_nothing_is_there_to_click(waiting: Reader) -> None:
    page = sign_in(waiting, "round-2", CLINIC["clinic-patient"])
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})  # A4 at 96 dots per inch
    assert too_wide(page) == []
    assert not page.locator("header nav").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_every_number_is_two_clicks_from_its_source(waiting: Reader) -> None:
    """Each signal and each input of an answer leads to its concept; each fact there opens."""
    page = sign_in(waiting, "round-3", CLINIC["clinic-patient"])
    for heading in ("assessments", "signals", "record"):  # on one screen
        place = page.locator(f"#{heading}").bounding_box()
        assert place is not None
        assert place["y"] < DESK["height"] / 2, heading
    answers = page.locator("article.model:not(.refused)")
    assert answers.count() >= 2
    for number in range(answers.count()):
        inputs = answers.nth(number).locator("details", has_text="Inputs")
        inputs.locator("summary").first.click()
        assert inputs.locator("a[href*='/explain/']").first.is_visible()
    shown = page.locator(".signal")
    assert shown.count() >= 10
    assert page.locator(".signal:not(:has(a[href*='/explain/']))").count() == 0
    shown.first.locator("a[href*='/explain/']").first.click()
    page.wait_for_url("**/explain/**")
    fact = page.locator(".fact").first
    fact.locator("summary").click()
    assert fact.get_by_text("Source", exact=True).is_visible()
