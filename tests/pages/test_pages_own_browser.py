"""The patient's story in a real Chromium, at a desk and on a phone: read, dispute, share, be read
in a browser that was never here, take back. Every page on the way is accessible and fits."""

from collections.abc import Callable, Iterator

import pytest
from pages_browser import CONTRAST, DESK, PHONE, Reader, readers, too_small, too_wide, violations
from pages_site import FULL, running_site
from playwright.sync_api import Browser, Page, expect

from service.auth import Role

pytestmark = pytest.mark.browser
Picture = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Reader]:
    """An installation of one patient, in which things may be changed."""
    with (
        running_site(tmp_path_factory.mktemp("own"), (FULL,)) as site,
        readers(site, browser) as reader,
    ):
        yield reader


def looked(page: Page, axe: str) -> None:
    assert violations(page, axe) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, axe, CONTRAST) == []
    page.emulate_media(color_scheme="light")
    assert too_wide(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert too_small(page) == []


def opened(page: Page, address: str, passcode: str) -> None:
    page.goto("about:blank")
    page.goto(address)
    page.get_by_label("Who are you?").fill("Dr Example")
    page.get_by_label("Passcode").fill(passcode)
    page.get_by_role("button", name="Open").click()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desktop", "phone"])
def test_a_patient_reads_disputes_shares_and_takes_back(
    home: Reader, axe: str, picture: Picture, viewport: dict[str, int]
) -> None:
    take = picture if viewport is PHONE else _nothing
    page = home.open(Role.PATIENT, "/me", FULL, viewport=viewport, bypass_csp=True)
    looked(page, axe)
    page.get_by_role("link", name="What is in it").click()
    looked(page, axe)
    take(page, "patient-record")

    page.get_by_role("link", name="Systolic blood pressure").click()
    looked(page, axe)
    page.get_by_role("link", name="This is wrong").first.click()
    looked(page, axe)
    page.get_by_label("The value is wrong").check()
    page.get_by_role("button", name="Mark it as wrong").click()
    expect(page.get_by_text("You said: the value is wrong.")).to_be_visible()
    looked(page, axe)
    take(page, "patient-dispute")
    doctor = home.open(Role.EHR, "/clinic/twins/{twin}", FULL, bypass_csp=True)
    expect(doctor.get_by_text("Disputed by the patient:")).to_be_visible()
    assert violations(doctor, axe) == []

    page.get_by_role("link", name="Share it").click()
    looked(page, axe)
    page.get_by_label("Name of the link").fill("Second opinion")
    page.get_by_role("button", name="Make the link").click()
    address = page.get_by_role("textbox", name="Your link").input_value()
    passcode = page.locator("#passcode").inner_text()
    looked(page, axe)
    take(page, "patient-shared")

    stranger = home.window(viewport=viewport).new_page()
    opened(stranger, address, passcode)
    expect(stranger.get_by_role("heading", name="Problems")).to_be_visible()

    page.get_by_role("link", name="I have it").click()
    take(page, "patient-share")
    page.get_by_role("link", name="Who opened it").first.click()
    expect(page.get_by_role("row", name="Dr Example")).to_contain_text("opened")
    looked(page, axe)
    page.go_back()
    page.get_by_role("button", name="End it").first.click()
    expect(page.get_by_text("ended by you").first).to_be_visible()
    opened(stranger, address, passcode)
    expect(stranger.get_by_role("alert")).to_contain_text("no longer available")

    page.get_by_role("link", name="What is in it").click()
    page.get_by_role("button", name="Take back what I said").click()
    expect(page.get_by_text("You have not said that anything is wrong.")).to_be_visible()


def _nothing(page: Page, name: str) -> None:
    """Pictures are of the phone."""


def test_consent_uses_and_taking_along(home: Reader, axe: str, picture: Picture) -> None:
    page = home.open(Role.PATIENT, "/me/consent", FULL, viewport=PHONE, bypass_csp=True)
    page.locator("#research").get_by_role("button", name="Say yes").click()
    expect(page.locator("#research")).to_contain_text("Now: yes.")
    looked(page, axe)
    picture(page, "patient-consent")
    page.get_by_role("link", name="Who used it").click()
    looked(page, axe)
    picture(page, "patient-uses")
    page.get_by_role("link", name="Take it along").click()
    looked(page, axe)
    picture(page, "patient-take")
    page.get_by_label("The same summary, with my name and dates").check()
    with page.expect_download() as named:
        page.get_by_role("button", name="Download").click()
    assert named.value.suggested_filename == "summary-with-name.json"
    page.get_by_label("Your twin in one package").check()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    assert waiting.value.suggested_filename == "record.sphr"


def test_nothing_is_refused_by_the_content_policy(home: Reader) -> None:
    page = home.open(Role.PATIENT, "/me", FULL)
    for path in ("record", "record/systolic-bp", "uses", "consent", "take", "share"):
        page.goto(f"{home.base}/me/{path}")
    page.get_by_role("button", name="Make the link").click()
    page.wait_for_load_state("networkidle")
    assert home.said == []


def test_everything_is_done_without_scripts(home: Reader) -> None:
    page = home.open(Role.PATIENT, "/me/share", FULL, java_script_enabled=False)
    page.get_by_role("button", name="Make the link").click()
    assert page.locator("#passcode").is_visible()
    page.get_by_role("link", name="I have it").click()
    page.get_by_role("button", name="End it").first.click()
    assert page.get_by_text("ended by you").first.is_visible()
