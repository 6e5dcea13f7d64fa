"""Our health links opened by kill-the-clipboard, a receiver that nobody here wrote."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from interop_npm import installed
from support.issuer import Home, home, serving

from service.sharing.desk import Made, Wish

pytestmark = pytest.mark.interop
ME = ("patient", "session:1")


@dataclass(frozen=True)
class Giver:
    home: Home
    base: str


@pytest.fixture(scope="module")
def giver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Giver]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(tmp_path_factory.mktemp("links")))
        made = home()
        with serving(made.app) as base:
            yield Giver(made, base)
        made.runtime.close()


@pytest.fixture(scope="module")
def receiver() -> Path:
    return installed()


def received(folder: Path, link: Made, *more: str) -> Any:
    node = shutil.which("node")
    assert node
    text = link.link.spelled()
    ran = subprocess.run(
        [node, "receive.mjs", text, *more], cwd=folder, capture_output=True, check=True, timeout=600
    )
    return orjson.loads(ran.stdout)


def made(giver: Giver, **wish: Any) -> Made:
    return giver.home.desk.make(giver.home.twin, Wish(**wish), giver.base, *ME)


@pytest.mark.parametrize(
    ("wish", "said", "types"),
    [
        ({"label": "Second opinion"}, (), ["Bundle", "DocumentReference"]),
        ({"passcode": "427910"}, ("427910",), ["Bundle", "DocumentReference"]),
        ({"long_term": True}, ("", "100"), ["Bundle", "DocumentReference"]),
        ({"single": True}, (), ["Bundle"]),
        ({"single": True, "long_term": True}, (), ["Bundle"]),
    ],
)
def test_it_is_opened(
    giver: Giver, receiver: Path, wish: dict[str, Any], said: tuple[str, ...], types: list[str]
) -> None:
    found = received(receiver, made(giver, **wish), *said)
    assert [one["resourceType"] for one in found["resources"]] == types
    assert found.get("label") == wish.get("label")


def test_a_wrong_passcode_is_a_wrong_passcode(giver: Giver, receiver: Path) -> None:
    found = received(receiver, made(giver, passcode="427910"), "000000")
    assert found["error"] == "SHL_INVALID_PASSCODE_ERROR"


def test_a_revoked_link_is_dead(giver: Giver, receiver: Path) -> None:
    link = made(giver)
    giver.home.desk.revoke(giver.home.twin, link.id, *ME)
    assert received(receiver, link)["error"] == "SHL_MANIFEST_NOT_FOUND_ERROR"


def test_a_link_that_has_run_out_is_refused(giver: Giver, receiver: Path) -> None:
    """By the receiver's own clock, or, within the second that a link can tell, by us."""
    link = made(giver, lasts=timedelta(milliseconds=1))
    refusals = {"SHL_EXPIRED_ERROR", "SHL_MANIFEST_NOT_FOUND_ERROR"}
    assert received(receiver, link)["error"] in refusals
