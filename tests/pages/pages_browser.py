"""Readers of the pages in a real Chromium, and what is looked at in each page."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pages_site import Site
from playwright.sync_api import Browser, BrowserContext, Page

from service.auth import Role
from service.sandbox.serving import serving

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = {"type": "rule", "values": ["color-contrast"]}  # all that another scheme can change
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


@dataclass(frozen=True)
class Reader:
    """Opens pages as somebody, in windows of any kind; remembers what the console said."""

    site: Site
    base: str
    browser: Browser
    said: list[str]

    def window(self, **how: object) -> BrowserContext:
        return self.browser.new_context(**({"viewport": DESK} | how))  # type: ignore[arg-type]

    def open(self, role: Role | None, path: str, patient: str, **how: object) -> Page:
        page = self.window(**how).new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        if role is not None:
            self.sign_in(page, role, patient)
        page.goto(self.base + path.format(twin=self.site.twins[patient]))
        return page

    def sign_in(self, page: Page, role: Role, patient: str) -> None:
        twin = self.site.twins[patient] if role is Role.PATIENT else None
        page.goto(self.base + "/")
        page.get_by_label("One-time code").fill(self.site.code(role, twin))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/sign-in" not in url)


@contextmanager
def readers(site: Site, browser: Browser) -> Iterator[Reader]:
    """Somebody to read this site, on a real port; their windows are closed afterwards."""
    with serving(site.app) as server, closed_afterwards(browser):
        yield Reader(site, f"http://127.0.0.1:{server.server_port}", browser, [])


@contextmanager
def closed_afterwards(browser: Browser) -> Iterator[None]:
    """The windows opened meanwhile; those of a whole file of tests stay."""
    before = browser.contexts
    yield
    for context in browser.contexts:
        if context not in before:
            context.close()


def open_details(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


def violations(page: Page, axe: str, rules: object = RULES) -> list[str]:
    """What the accessibility checker finds in the page as it stands, everything unfolded."""
    open_details(page)
    page.evaluate(axe)
    how = {"runOnly": rules, "resultTypes": ["violations"], "selectors": False, "preload": False}
    found = page.evaluate("how => axe.run(document, how)", how)
    return [told(violation) for violation in found["violations"]]


def told(violation: dict[str, Any]) -> str:
    places = [node["html"][:160] for node in violation["nodes"][:3]]
    return f"{violation['id']}: {violation['help']} at {places}"


def too_wide(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(one =>
          one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
          && !one.closest('.scroll, table.stack thead')
          && getComputedStyle(one).position !== 'absolute'
        ).slice(0, 5).map(one => one.outerHTML.slice(0, 120))"""
    )
    return found


def too_small(page: Page) -> list[str]:
    """Controls of less than 24 by 24 pixels (WCAG 2.2, 2.5.8), but for links inside sentences."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), summary')]
        .filter(one => !one.matches('.skip') && !(one.tagName === 'A' && one.closest('p')
          && !one.matches('.button, .target')))
        .filter(one => { const box = one.getBoundingClientRect();
          return box.width > 0 && (box.width < 24 || box.height < 24) })
        .map(one => one.outerHTML.slice(0, 120))"""
    )
    return found
