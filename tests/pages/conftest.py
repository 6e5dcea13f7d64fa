"""One installation and one browser for the whole session; the pages only read."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pages_browser import Reader, closed_afterwards
from pages_shots import IMAGES
from pages_site import (
    AWKWARD,
    DIED,
    FULL,
    PARTIAL,
    REFUSED,
    STALE,
    Site,
    make_small_home,
    running_site,
    small_site,
)
from playwright.sync_api import Browser, Page, sync_playwright
from support import npm

from service.sandbox.serving import serving

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("pages-site")
    with running_site(home, (FULL, PARTIAL, REFUSED, STALE, DIED, AWKWARD)) as running:
        yield running


@pytest.fixture
def empty_site(tmp_path: Path) -> Iterator[Site]:
    """Nothing has been run yet."""
    with running_site(tmp_path / "home", ()) as running:
        yield running


@pytest.fixture(scope="session")
def document(site: Site) -> Callable[[str], Mapping[str, Any]]:
    return lambda patient: site.service.document(site.twins[patient])


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("pages-small") / "home"
    return home, make_small_home(home)


@pytest.fixture
def acting(small_home: tuple[Path, str], tmp_path: Path) -> Iterator[Site]:
    """An installation of its own, for what changes something: a copy of one made once."""
    home = tmp_path / "home"
    shutil.copytree(small_home[0], home)
    with small_site(home, small_home[1]) as running:
        yield running


SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "The browser tests need Chromium: apt-get install chromium (Debian, Ubuntu)."
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=SWITCHES)
        yield running
        running.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker, as the lock file pins it."""
    script = HERE / "node_modules" / "axe-core" / "axe.min.js"
    npm.install(HERE, lambda: script.exists() and _is_pinned())
    return script.read_text(encoding="utf-8")


def _is_pinned() -> bool:
    installed = HERE / "node_modules" / "axe-core" / "package.json"
    pinned = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
    version = pinned["packages"]["node_modules/axe-core"]["version"]
    return bool(json.loads(installed.read_text(encoding="utf-8"))["version"] == version)


@pytest.fixture(scope="session")
def base(site: Site) -> Iterator[str]:
    with serving(site.app) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def reader(site: Site, base: str, browser: Browser) -> Iterator[Reader]:
    with closed_afterwards(browser):
        yield Reader(site, base, browser, [])


@pytest.fixture
def picture(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Takes a picture of a window; with `--screenshots` it is the one in the documentation."""
    folder = IMAGES if request.config.getoption("--screenshots") else tmp_path

    def take(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")
        assert (folder / f"{name}.png").stat().st_size > 20_000

    return take
