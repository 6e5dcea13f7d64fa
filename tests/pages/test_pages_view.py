"""The viewer in a real Chromium: our links, the standard's example, everything that ends."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pages_shots import IMAGES
from playwright.sync_api import Browser, Page, expect
from support.issuer import Home, home, serving
from support.links import EXAMPLE_CARD, EXAMPLE_KEY, given

from privacy.signing import unb64
from service.sharing.desk import Made, Wish, viewer_of
from service.sharing.link import Link

pytestmark = pytest.mark.browser
ME = ("patient", "session:1")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def giver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, str]]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(tmp_path_factory.mktemp("view")))
        made = home()
        with serving(made.app) as base:
            yield made, base
        made.runtime.close()


@pytest.fixture
def fresh(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A window of a browser that has never been here; its console must stay empty."""
    said: list[str] = []

    def window(**how: Any) -> Page:
        page = browser.new_context(**{"viewport": DESK, **how}).new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "console",
            lambda line: said.append(line.text) if "Failed to load" not in line.text else None,
        )
        return page

    yield window
    for context in browser.contexts:
        context.close()
    assert said == []


def link(giver: tuple[Home, str], **wish: Any) -> tuple[Made, str]:
    place, base = giver
    made = place.desk.make(place.twin, Wish(**wish), base, *ME)
    return made, made.link.spelled(viewer_of(base))


def opened(page: Page, address: str, passcode: str = "") -> Page:
    page.goto(address)
    page.get_by_label("Who are you?").fill("Dr Example")
    if passcode:
        page.get_by_label("Passcode").fill(passcode)
    page.get_by_role("button", name="Open").click()
    return page


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desktop", "phone"])
def test_a_link_with_a_passcode_is_read_and_saved(
    giver: tuple[Home, str], fresh: Any, axe: str, viewport: Any, tmp_path: Path, request: Any
) -> None:
    made, address = link(giver, passcode="427910", label="Second opinion")
    asked: list[str] = []
    page = fresh(viewport=viewport, color_scheme="dark" if viewport is PHONE else "light")
    page.on("request", lambda one: asked.append(f"{one.url} {one.post_data}"))
    page.goto(address)
    expect(page.get_by_role("heading", name="Second opinion")).to_be_visible()
    accessible(page, axe)
    opened(page, address, "000000")
    expect(page.get_by_role("alert")).to_contain_text("9 tries are left")
    page.get_by_label("Passcode").fill("427910")
    page.get_by_role("button", name="Open").click()
    for title in ("Problems", "Allergies and intolerances", "Medications", "Assessments by models"):
        expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_role("article").first).to_contain_text("% within 10 years")
    expect(page.get_by_text("lisinopril", exact=True)).to_be_visible()
    accessible(page, axe)
    fits(page)
    if viewport is PHONE and request.config.getoption("--screenshots"):
        page.screenshot(path=IMAGES / "view-phone.png")
    with page.expect_download() as saving:
        page.get_by_role("link", name="The signed twin").click()
    assert saving.value.suggested_filename == "twin.json"
    saving.value.save_as(tmp_path / "twin.json")
    assert (tmp_path / "twin.json").read_bytes().startswith(b'{"twin":')
    assert not [one for one in asked if address.partition("#")[2] in one or key(made) in one]
    [use, *_] = giver[0].desk.uses(giver[0].twin, made.id)
    assert (use.outcome, use.recipient) == ("opened", "Dr Example")


def key(made: Made) -> str:
    return json.loads(unb64(made.link.spelled().rpartition("/")[2]))["key"]  # type: ignore[no-any-return]


def test_what_ended_says_so_in_plain_words(giver: tuple[Home, str], fresh: Any) -> None:
    place, _ = giver
    revoked, address = link(giver)
    place.desk.revoke(place.twin, revoked.id, *ME)
    _, expired = link(giver, lasts=timedelta(milliseconds=1))
    page = fresh(viewport=PHONE)
    for dead in (address, expired):
        opened(page, dead)
        expect(page.get_by_role("alert")).to_contain_text("no longer available")
        expect(page.get_by_role("button", name="Open")).to_be_hidden()
        page.goto("about:blank")


def test_the_last_try_says_that_it_was_the_last(giver: tuple[Home, str], fresh: Any) -> None:
    made, address = link(giver, passcode="427910")
    token = made.link.url.rpartition("/")[2]
    for _ in range(9):
        giver[0].desk.ask(token, "somebody", "000000")
    page = opened(fresh(), address, "111111")
    expect(page.get_by_role("alert")).to_contain_text("that was the last try")


def test_a_single_file_and_a_pasted_link_are_opened(giver: tuple[Home, str], fresh: Any) -> None:
    made, _ = link(giver, single=True)
    page = fresh()
    page.goto(f"{giver[1]}/view")
    page.get_by_label("Health link").fill(made.link.spelled())
    page.get_by_role("button", name="Read the link").click()
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", name="Problems")).to_be_visible()


def test_the_health_card_of_the_standard_is_opened(giver: tuple[Home, str], fresh: Any) -> None:
    """The file of the specification's own example, served by somebody else."""
    listed = {"contentType": "application/smart-health-card", "embedded": EXAMPLE_CARD}
    with given({"/m": {"files": [listed]}}) as base:
        page = fresh()
        opened(page, Link(f"{base}/m", EXAMPLE_KEY).spelled(viewer_of(giver[1])))
        expect(page.get_by_role("heading", name="A health card")).to_be_visible()
        expect(page.get_by_role("heading", name="Immunizations")).to_be_visible()


@pytest.mark.parametrize(
    ("fragment", "sentence"),
    [
        ("shlink:/eyJ", "damaged"),
        ("shlink:/eyJ1cmwiOiJodHRwOi8vYS5leGFtcGxlL3giLCJrZXkiOiJyeFRnIn0", "not encrypted"),
        ("shlink:/eyJ2IjoyfQ", "newer kind"),
    ],
)
def test_a_link_that_is_none_is_refused(
    giver: tuple[Home, str], fresh: Any, fragment: str, sentence: str
) -> None:
    page = fresh()
    page.goto(f"{giver[1]}/view#{fragment}")
    expect(page.get_by_role("alert")).to_contain_text(sentence)


HOSTILE = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {
            "resource": {
                "resourceType": "Condition",
                "code": {
                    "text": "<img src=x onerror=\"document.title='taken'\"><script>1</script>"
                },
                "clinicalStatus": 7,
                "onsetDateTime": {"a": []},
            }
        },
        {"resource": {"resourceType": "Composition", "section": [None, {"entry": "x"}, 5]}},
        {"resource": None},
        7,
    ],
}


def test_what_a_stranger_wrote_stays_words(giver: tuple[Home, str], fresh: Any) -> None:
    made = given({"/m": [("application/fhir+json", HOSTILE), ("application/fhir+json", [1])]})
    with made as base:
        page = fresh()
        opened(page, Link(f"{base}/m", EXAMPLE_KEY).spelled(viewer_of(giver[1])))
        expect(page.get_by_role("heading", name="Save it")).to_be_visible()
        assert page.title() == "Open a health link · Twinport"
        assert page.locator("main img, main script").count() == 0


def accessible(page: Page, axe: str) -> None:
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    assert [one["id"] for one in found["violations"]] == []


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
