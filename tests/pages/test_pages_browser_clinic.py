"""The clinician's pages in a real Chromium: the pause by keyboard alone, accessible at each step;
and the pictures of the documentation (`pytest -m browser --screenshots tests/pages`)."""

from collections.abc import Callable, Iterator

import pytest
from pages_browser import Reader, readers, violations
from pages_shots import CLINIC
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
