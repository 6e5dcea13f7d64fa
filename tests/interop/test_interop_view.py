"""Our viewer opens the links that kill-the-clipboard makes."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
from flask import Flask
from interop_npm import installed
from playwright.sync_api import expect, sync_playwright
from support.issuer import serving

from service.app import create_app
from service.config import load_config
from service.pages.site import viewer
from service.web.services import Services

pytestmark = pytest.mark.interop
RECORD = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {
            "resource": {
                "resourceType": "Condition",
                "id": "c1",
                "subject": {"reference": "Patient/p1"},
                "code": {"text": "Hay fever"},
            }
        }
    ],
}


@contextmanager
def link(flag: str) -> Iterator[str]:
    node = shutil.which("node")
    assert node
    command = [node, "give.mjs", flag, orjson.dumps(RECORD).decode()]
    with subprocess.Popen(command, cwd=installed(), stdout=subprocess.PIPE, text=True) as giver:
        assert giver.stdout is not None
        yield giver.stdout.readline().strip()
        giver.terminate()


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    app = Flask("unused")
    app = create_app(load_config({}), Services(None, None, dict), pages=[viewer])  # type: ignore[arg-type]
    with serving(app) as address:
        yield address


def test_our_viewer_opens_links_of_another_maker(base: str) -> None:
    found = shutil.which("chromium")
    assert found, "apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for flag, times in (("", 2), ("L", 2), ("U", 1), ("LU", 1)):
            with link(flag) as text:
                page = browser.new_page()
                page.goto(f"{base}/view#{text}")
                expect(page.get_by_role("heading", name="From another maker")).to_be_visible()
                page.get_by_role("button", name="Open").click()
                expect(page.get_by_text("Hay fever")).to_have_count(times)
                page.close()
        browser.close()
