"""Two installations with keys, policies and databases of their own: there, on, and back."""

from pathlib import Path

import orjson
import pytest
from receive_places import ME, place, reading
from support.issuer import serving
from support.shell import Shell

from privacy.signing import VerificationKeys
from service.app import create_app
from service.config import load_config
from service.portable.sphr import open_package
from service.receive.errors import ReceiveError
from service.receive.extend import Extender
from service.sharing.desk import Desk, Wish, viewer_of
from service.sharing.link import read as read_link
from service.wsgi import assembled, links
from twin_engine.models.assess import recompute


@pytest.mark.slow
def test_a_twin_goes_from_one_to_another_and_back_as_a_new_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = place(tmp_path / "a"), place(tmp_path / "b")
    b.trust("clinic-a", a)
    first = a.twin()

    # A → patient → B: by a health link, over a real port, with B's own command line.
    app = create_app(load_config({}), assembled(a.runtime), pages=[links(a.runtime)])
    with serving(app) as base:
        link = Desk(a.runtime).make(first.twin.id, Wish(), base, *ME).link
        monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "b"))
        shell = Shell(tmp_path / "b")
        ran = shell("receive", "-", "--json", stdin=link.spelled(viewer_of(base)))
    taken = orjson.loads(ran.out.splitlines()[-1])  # the other service logs beside it
    assert (taken["issuer"], taken["new"]) == ("clinic-a", True)
    assert read_link(link.spelled()).key == link.key

    # Recomputed at B with identical numbers.
    held = b.desk.get(first.twin.id)
    assert held.payload == first.stored.payload
    again = recompute(orjson.loads(held.payload))
    assert len(again) == 2
    assert {(one.outcome, one.largest) for one in again} == {("same", 0.0)}

    # Extended with B's data, which B knows under another policy and its own epoch.
    own = b.twin(reading("bp-b", "8480-6", "2026-03-14", 128, "mm[Hg]"), policy="relative-minutes")
    assert own.twin.document["twin"]["policy"]["id"] == "relative-minutes"
    assert own.twin.id != first.twin.id
    out = tmp_path / "continued.sphr"
    extended = shell(
        *("extend", first.twin.id, "--with", own.twin.id, "--days", 12, "--out", out, "--json")
    )
    assert extended.code == 0, extended.err
    assert (extended.json["twin"], extended.json["version"]) == (first.twin.id, 2)
    assert (extended.json["added"], extended.json["duplicates"]) == (1, 2)

    # Back to A: a new version with lineage, by B, beside A's own.
    with pytest.raises(ReceiveError, match="not trusted here"):
        a.desk.receive(out.read_bytes(), *ME)
    a.trust("clinic-b", b)
    back = a.desk.receive(out.read_bytes(), *ME)
    assert (back.new, back.issuer, back.follows, back.ours) == (True, "clinic-b", 1, True)
    assert back.twin.parent == first.twin.digest
    signal = back.twin.document["signals"]["systolic-bp"]
    assert signal["v"] == [142, 128]
    assert signal["t"][1] - signal["t"][0] == 12
    assert {one.outcome for one in recompute(back.twin.document)} == {"same"}
    package = open_package(out.read_bytes(), VerificationKeys(b.runtime.jwks()))
    assert package.twin.digest == back.twin.digest
    assert a.twin().twin.version == 1, "our own twin is what it was"
    with pytest.raises(ReceiveError, match="packed here"):
        Extender(a.runtime).package(first.twin.id)
    a.runtime.close()
    b.runtime.close()
