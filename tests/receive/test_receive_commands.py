"""`twinport receive` and `twinport trust`, as a person uses them."""

from pathlib import Path

import orjson
import pytest
from receive_places import ME, Place, place
from support.issuer import serving
from support.shell import Shell

from service.app import create_app
from service.config import load_config
from service.sharing.desk import Desk, Wish, viewer_of
from service.wsgi import assembled, links


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
    place(tmp_path / "home").runtime.close()
    return Shell(tmp_path / "home")


def test_a_file_and_a_link_are_taken_once_their_issuer_is_trusted(
    a: Place, shell: Shell, tmp_path: Path
) -> None:
    made = a.twin()
    (tmp_path / "twin.json").write_bytes(made.file)
    (tmp_path / "keys.json").write_bytes(orjson.dumps(a.runtime.jwks()))
    kid = a.runtime.jwks()["keys"][0]["kid"]
    ran = shell("receive", tmp_path / "twin.json")
    assert (ran.code, "not trusted here" in ran.error) == (3, True)
    unsaid = shell("trust", "add", "clinic-a", "--keys", tmp_path / "keys.json")
    assert kid in unsaid.error
    trusted = ("trust", "add", "clinic-a", "--keys", tmp_path / "keys.json", "--thumbprint", kid)
    assert shell(*trusted).code == 0
    assert shell("trust", "list", "--json").json == [{"issuer": "clinic-a", "thumbprint": kid}]
    assert shell("receive", tmp_path / "twin.json", "--json").json["new"]
    app = create_app(load_config({}), assembled(a.runtime), pages=[links(a.runtime)])
    with serving(app) as base:
        link = Desk(a.runtime).make(made.twin.id, Wish(passcode="427910"), base, *ME).link
        text = link.spelled(viewer_of(base))
        ran = shell("receive", "-", stdin=text)
        assert (ran.code, "passcode is missing" in ran.error) == (3, True)
        (tmp_path / "passcode").write_text("427910\n")
        ran = shell("receive", "-", "--passcode-file", tmp_path / "passcode", stdin=text)
    assert "exactly this is held here already" in ran.err
    held = shell("receive", "--json").json
    assert held == [{"twin": made.twin.id, "version": made.twin.version, "issuer": "clinic-a"}]
    shown = shell("receive", "--show", made.twin.id, "--out", tmp_path / "again.json")
    assert shown.code == 0
    assert (tmp_path / "again.json").read_bytes() == made.file
    (tmp_path / "twin.json").write_bytes(made.file.replace(b'"sex"', b'"sax"'))
    assert shell("receive", tmp_path / "twin.json").code == 7
    assert shell("trust", "remove", "clinic-a").code == 0
    assert shell("trust", "remove", "clinic-a").code == 3
