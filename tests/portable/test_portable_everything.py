"""Everything that is held about one twin, to take along; and that erasure leaves no way back."""

import io
import zipfile
from collections.abc import Iterator

import orjson
import pytest
from support.issuer import Home, home
from support.shell import Shell

from privacy import ledger
from privacy.signing import VerificationKeys, open_envelope, verify
from service.auth import Role
from service.auth.principals import ROLE_SCOPES, Kind, Principal
from service.patient.everything import as_archive, everything
from service.portable.sphr import open_package
from service.reidentify.desk import Desk
from service.sharing.desk import Wish
from service.stores.links import Asked

ME = ("patient", "session:1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(tmp_path_factory.mktemp("leaving")))
        made = home()
        yield made
        made.runtime.close()


@pytest.mark.slow
def test_a_person_leaves_with_everything_and_no_way_back_is_left(
    place: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runtime, twin = place.runtime, place.twin
    link = place.desk.make(twin, Wish(label="Second opinion"), "https://twin.example.org", *ME)
    token = link.link.url.rpartition("/")[2]
    assert place.desk.ask(token, "Dr Example", None).asked is Asked.OPENED

    found = everything(runtime, twin)
    assert found is not None
    assert as_archive(found) == as_archive(everything(runtime, twin) or [])
    parts = dict(found)
    keys = VerificationKeys(orjson.loads(parts["keys.json"]))
    payload, proof = open_envelope(parts["versions/twin-1.json"])
    verify(proof["jws"], payload, keys)
    assert open_package(parts["record.sphr"], keys).twin.id == twin
    assert ledger.verify_ledger(parts["ledger.jsonl"].splitlines(), keys, whole=False).ok
    (given,) = orjson.loads(parts["links.json"])
    assert (given["label"], given["asked"][0]["recipient"]) == ("Second opinion", "Dr Example")
    assert {use["action"] for use in orjson.loads(parts["uses.json"])} >= {"link-opened"}
    named = set(parts["README.txt"].decode().split())
    assert {name.partition("/")[0] for name in parts} - {"README.txt", "versions"} <= named
    assert not [name for name, content in found if b"demo-001" in content], "no way back inside"
    assert everything(runtime, "A" * 22) is None

    out = tmp_path_factory.mktemp("out")
    shell = Shell(out)
    assert shell("export", "--twin", twin, "--all", "--out", out).code == 0
    with zipfile.ZipFile(io.BytesIO((out / "everything.zip").read_bytes())) as opened:
        assert set(opened.namelist()) == set(parts)
    assert shell("export", "--twin", twin, "--all", "--to", "ips", "--out", out).code == 2

    desk = Desk(runtime.database, runtime.vault, runtime.signer)
    officer = Principal(
        Role.PRIVACY_OFFICER, ROLE_SCOPES[Role.PRIVACY_OFFICER], "person:ada", Kind.API_KEY
    )
    gone = desk.erase(officer, twin)
    assert (gone.links, gone.left, twin in gone.twins) == (1, 0, True)
    assert place.desk.ask(token, "Dr Example", None).asked is Asked.GONE
    lines = dict(everything(runtime, twin) or [])["ledger.jsonl"].splitlines()
    certificate = ledger.certificate(lines, twin)
    assert certificate is not None
    assert (certificate.seq, certificate.since) == (gone.entry, ())
