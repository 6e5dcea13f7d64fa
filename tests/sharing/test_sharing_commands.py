"""`twinport share`, as an operator uses it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from support.issuer import twin_of
from support.shell import Shell

from service.pipeline.runtime import open_runtime
from service.sharing.link import read


@dataclass(frozen=True)
class Desk:
    shell: Shell
    twin: str


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("share")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(folder))
        environment.setenv("TWINPORT_WEB__PUBLIC_URL", "https://twin.example.org")
        runtime = open_runtime()
        twin = twin_of(runtime, "demo-001").twin.id
        runtime.close()
        yield Desk(Shell(folder), twin)


def test_a_link_is_said_once_and_listed_without_its_key(desk: Desk, tmp_path: Path) -> None:
    made = desk.shell(
        *("share", "make", "--twin", desk.twin, "--passcode", "--label", "For Dr Example"),
        *("--viewer", "https://viewer.example.org"),
        *("--qr", tmp_path / "qr.svg", "--json"),
    ).json
    link = read(made["link"])
    assert made["link"].startswith("https://viewer.example.org#shlink:/")
    assert (link.flag, link.label) == ("P", "For Dr Example")
    assert len(made["passcode"]) == 6
    assert (tmp_path / "qr.svg").read_bytes().startswith(b"<svg")
    listed = desk.shell("share", "list", "--twin", desk.twin, "--json").out
    assert made["id"] in listed
    assert link.url.rpartition("/")[2] not in listed


def test_a_link_opens_in_our_own_viewer_unless_asked_otherwise(desk: Desk) -> None:
    text = desk.shell("share", "make", "--twin", desk.twin).out
    assert text.startswith("https://twin.example.org/view#shlink:/")
    both = desk.shell(
        "share", "make", "--twin", desk.twin, "--bare", "--viewer", "https://v.example"
    )
    assert both.code == 2


def test_a_link_is_updated_from_standard_input_and_revoked(desk: Desk) -> None:
    text = desk.shell("share", "make", "--twin", desk.twin, "--long-term", "--bare").out
    assert text.startswith("shlink:/")
    runtime = open_runtime()
    assert twin_of(runtime, "demo-001", date(2026, 9, 1)).twin.id == desk.twin
    runtime.close()
    assert "version 2" in desk.shell("share", "update", stdin=text).err
    (newest, *_) = desk.shell("share", "list", "--twin", desk.twin, "--json").json
    assert (newest["version"], newest["state"]) == (2, "open")
    assert desk.shell("share", "revoke", "--twin", desk.twin, newest["id"]).code == 0
    ran = desk.shell("share", "update", stdin=text)
    assert (ran.code, ran.error.partition(",")[0]) == (3, "this link opens nothing any more")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("make", "--twin", "none"), 3, "no such twin"),
        (("make", "--twin", "TWIN", "--single", "--passcode"), 3, "leave one of them out"),
        (("make", "--twin", "TWIN", "--label", "x" * 81), 3, "at most 80"),
        (("revoke", "--twin", "TWIN", "none"), 2, "no such link"),
        (("update",), 3, "does not hold `shlink:/`"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    desk: Desk, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    ran = desk.shell("share", *(desk.twin if a == "TWIN" else a for a in arguments))
    assert ran.code == code
    assert sentence in ran.error


def test_without_a_public_address_it_says_how_to_give_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWINPORT_WEB__PUBLIC_URL")
    ran = desk.shell("share", "make", "--twin", desk.twin)
    assert (ran.code, "web.public_url" in ran.error) == (8, True)
