"""The page that checks twins, in a real Chromium."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pages_shots import IMAGES
from playwright.sync_api import Browser, Page, expect
from support.issuer import home, serving

from privacy.signing import SigningKey, jwks
from service.pipeline.package import package

pytestmark = pytest.mark.browser
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("verify")
        environment.setenv("TWINPORT_HOME", str(folder / "home"))
        made = home()
        data = package(made.runtime, made.twin)
        assert data is not None
        (folder / "record.sphr").write_bytes(data)
        with zipfile.ZipFile(folder / "record.sphr") as opened:
            opened.extractall(folder)
        foreign = jwks([SigningKey.generate().public_jwk()])
        (folder / "foreign.json").write_bytes(orjson.dumps(foreign))
        with serving(made.app) as base:
            yield f"{base}/verify", folder
        made.runtime.close()


def checked(page: Page, file: Path, keys: Path | None = None) -> None:
    page.get_by_label("File").set_input_files(file)
    page.get_by_label("The issuer's keys").set_input_files([] if keys is None else keys)
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("status")).to_be_empty()


def changed(file: Path, before: bytes, after: bytes) -> Path:
    """The file with a part of it exchanged; of a package inside its part."""
    made = file.with_name(f"changed-{file.name}")
    if file.suffix != ".sphr":
        made.write_bytes(file.read_bytes().replace(before, after, 1))
        return made
    with zipfile.ZipFile(file) as opened, zipfile.ZipFile(made, "w") as out:
        for name in opened.namelist():
            content = opened.read(name)
            out.writestr(name, content.replace(before, after) if name == "ips.json" else content)
    return made


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_files_are_checked_and_what_was_changed_is_named(
    place: tuple[str, Path], browser: Browser, axe: str, phone: bool, request: Any
) -> None:
    address, folder = place
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
    context = browser.new_context(viewport=size, color_scheme="dark" if phone else "light")  # type: ignore[arg-type]
    page = context.new_page()
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.method))
    page.goto(address)
    result = page.get_by_role("alert")
    for name in ("record.sphr", "twin.json"):
        checked(page, folder / name)
        expect(result).to_contain_text("Verified: this is exactly what its issuer signed.")
        expect(page.locator("#facts")).to_contain_text("sha256:")
    checked(page, folder / "record.sphr")
    if request.config.getoption("--screenshots") and not phone:
        page.screenshot(path=IMAGES / "verify.png", full_page=True)
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    assert [one["id"] for one in found["violations"]] == []
    checked(page, changed(folder / "record.sphr", b"Problems", b"problems"))
    expect(result).to_contain_text("Not verified")
    bad = page.locator("#checks li").filter(has_text="not in order")
    expect(bad).to_have_count(1)
    expect(bad).to_contain_text("ips.json: not in order; it is not what its issuer listed")
    checked(page, changed(folder / "twin.json", b'"age":5', b'"age":6'))
    expect(page.locator("#checks")).to_contain_text("does not belong to these bytes")
    checked(page, folder / "twin.json", folder / "foreign.json")
    expect(page.locator("#checks")).to_contain_text("a key that is not in the key set")
    assert set(sent) == {"GET"}
    context.close()
