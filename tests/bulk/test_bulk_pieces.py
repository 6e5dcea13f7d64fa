"""The small parts, each as its page has it."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from bulk_scene import TELLING, heart_rate, record

from privacy.errors import VaultError
from service.bulk.coverage import of_files
from service.bulk.download import Downloads
from service.bulk.intake import Intake
from service.bulk.manifest import Listed, Manifest, parse
from service.bulk.order import Dialect, Order, _request, parameters
from service.bulk.polling import progress
from service.bulk.records import Records, Skipped
from service.bulk.spool import FILE, Kind, Spool
from service.config import ConfigError, load_config
from service.fhir.capability import parse_capability
from service.fhir.errors import ForeignOrigin, NotFhir, UnsafeAddress
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.servers import ServerConfig

BASE = "https://ehr.example/fhir"
AT = f"{BASE}/bulk/jobs/1"
Json = dict[str, Any]


# -- manifests -------------------------------------------------------------------------------------

EIGHT = datetime(2026, 6, 2, 8, tzinfo=UTC)
MANIFESTS: list[tuple[str, Json, Manifest]] = [
    (
        "version 1 has neither `deleted` nor types of `error`",
        {
            "transactionTime": "2026-06-02T08:00:00.000Z",
            "requiresAccessToken": True,
            "output": [{"type": "Patient", "url": "https://ehr.example/fhir/f/1", "count": 3}],
        },
        Manifest(
            EIGHT, True, (Listed("output", "Patient", f"{BASE}/f/1", 3),), None
        ),
    ),
    (
        "version 4: `outcome`, `deleted` without a type, extensions in a list, no `request`",
        {
            "requiresAccessToken": False,
            "output": [],
            "deleted": [{"url": f"{BASE}/f/2"}],
            "outcome": [{"url": f"{BASE}/f/3", "countSeverity": []}],
            "extension": [],
        },
        Manifest(
            None,
            False,
            (Listed("deleted", "", f"{BASE}/f/2"), Listed("error", "", f"{BASE}/f/3")),
            None,
        ),
    ),
    (
        "pages, and addresses relative to where it was found",
        {"output": [{"url": "../files/1"}], "link": [{"relation": "next", "url": "1?page=2"}]},
        Manifest(None, True, (Listed("output", "", f"{BASE}/bulk/files/1"),), f"{AT}?page=2"),
    ),
    (
        "what is odd is not looked at, and counted where a file is missing by it",
        {
            "transactionTime": "2026-06-02T08:00:00",
            "requiresAccessToken": "false",
            "output": [{"type": "../etc", "url": f"{BASE}/f", "count": -1}, {"type": "Patient"}, 7],
            "deleted": {"url": "x"},
        },
        Manifest(
            EIGHT, True, (Listed("output", "", f"{BASE}/f"),), None, 2
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "expected"), MANIFESTS)
def test_manifests_of_every_version(name: str, given: Json, expected: Manifest) -> None:
    assert parse(orjson.dumps(given), AT) == expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"output": 7}', b'{"done": true}'])
def test_what_is_no_manifest_is_told_with_the_way_round(body: bytes) -> None:
    with pytest.raises(NotFhir, match="--ndjson DIR"):
        parse(body, AT)


# -- the kick-off ----------------------------------------------------------------------------------

ORDER = Order("group", "g1", ("Patient", "Observation"), "2026-01-01T00:00:00Z", partial=True)


def test_the_two_dialects_say_the_same() -> None:
    client = FhirClient(ServerConfig("x", BASE))
    url, body = _request(client, ORDER, Dialect.GET)
    assert body is None
    asked = "_type=Patient,Observation&_since=2026-01-01T00:00:00Z&allowPartialManifests=true"
    assert url == f"{BASE}/Group/g1/$export?{asked}"
    url, body = _request(client, ORDER, Dialect.POST)
    assert url == f"{BASE}/Group/g1/$export"
    assert orjson.loads(body or b"") == parameters(ORDER) == {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "_type", "valueString": "Patient"},
            {"name": "_type", "valueString": "Observation"},
            {"name": "_since", "valueInstant": "2026-01-01T00:00:00Z"},
            {"name": "allowPartialManifests", "valueBoolean": True},
        ],
    }  # fmt: skip
    assert _request(client, Order("system"), Dialect.GET)[0] == f"{BASE}/$export"
    assert _request(client, Order("patient"), Dialect.GET)[0] == f"{BASE}/Patient/$export"


GUIDE = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"


def test_where_a_statement_lists_exports() -> None:
    rest = {
        "mode": "server",
        "operation": [{"name": "export", "definition": f"{GUIDE}/export|2.0.0"}],
        "resource": [
            {"type": "Patient", "operation": [{"name": "patient-export", "definition": "x"}]},
            {"type": "Group", "operation": [{"name": "$export", "definition": "y"}]},
            {"type": "Observation", "operation": [{"name": "lastn"}], "extension": [
                {"url": "http://hl7.org/fhir/uv/bulkdata/Extension/operation-not-supported"}]},
        ],
    }  # fmt: skip
    found = parse_capability({"resourceType": "CapabilityStatement", "rest": [rest]})
    assert found.exports == {"system": f"{GUIDE}/export|2.0.0", "patient": "x", "group": "y"}
    assert found.not_exported == {"Observation"}


# -- progress --------------------------------------------------------------------------------------

SAID = [
    ("50%", 50), ("12.5 % done", 12), ("exported 3 of 4 files", 75), ("7/10", 70),
    ("in-progress", None),
    ("150%", 100), ("", None), (None, None), ("1 of 0", None), ("x" * 300 + "50%", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "percent"), SAID)
def test_of_progress_a_number_is_read_and_never_the_words(
    text: str | None, percent: int | None
) -> None:
    assert progress(text) == percent


# -- hosts -----------------------------------------------------------------------------------------

HOSTS = [
    ("https://ehr.example/fhir/f", "own"),
    ("https://files.example/a", "named"),
    ("https://files.example:8443/a", ForeignOrigin),
    ("http://files.example/a", ForeignOrigin),
    ("https://ehr.example.evil/f", ForeignOrigin),
    ("https://me:pw@files.example/a", UnsafeAddress),
    ("file:///etc/passwd", UnsafeAddress),
    ("https://evil-store.example/a", ForeignOrigin),
    ("https://localhost.store.example/a", UnsafeAddress),  # no such host, so no public address
]


@pytest.mark.parametrize(("url", "expected"), HOSTS)
def test_which_hosts_may_be_asked(url: str, expected: Any) -> None:
    client = FhirClient(ServerConfig("x", BASE))
    downloads = Downloads(client, ("https://files.example", "https://*.store.example"))
    if isinstance(expected, str):
        assert downloads._guard(url) is (expected == "own")
        return
    with pytest.raises(expected) as caught:
        downloads._guard(url)
    assert "/a" not in str(caught.value)


BAD_SETTINGS = [
    ('level = "group"', "bulk.group"),
    ('file_origins = ["http://files.example"]', "plain http"),
    ('file_origins = ["https://files.example/path"]', "more than an origin"),
    ('file_origins = ["https://*.com"]', "top-level domain"),
    ('file_origins = ["https://a*.example.com"]', "more than an origin"),
    ('types = ["observation"]', "types"),
]


@pytest.mark.parametrize(("line", "words"), BAD_SETTINGS)
def test_unsafe_settings_refuse_the_start(tmp_path: Path, line: str, words: str) -> None:
    text = f'[servers.main]\nbase_url = "{BASE}"\n[servers.main.bulk]\n{line}\n'
    (tmp_path / "twinport.toml").write_text(text)
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigError, match=words):
        load_config({"TWINPORT_HOME": str(tmp_path)})


# -- the spool -------------------------------------------------------------------------------------

KEY = bytes(range(7, 39))


def filled(path: Path) -> None:
    with Spool(path, KEY) as spool:
        spool.expect(Listed("output", "", f"https://files.example/{who}") for who in ("p1", "p2"))
        for file, who in zip(spool.files("waiting"), ("p1", "p2"), strict=True):
            Intake(spool).take(file, [orjson.dumps(row) for row in record(who)])


def test_what_was_not_ended_does_not_count(tmp_path: Path) -> None:
    with Spool(tmp_path / FILE, KEY) as spool:
        spool.expect([Listed("output", "", "https://files.example/1")])
        (file,) = spool.files()
        broken = spool.begin(file.n)
        broken.people.add("p1")
        broken.add(Kind.PATIENT, "p1", b"x" * (1 << 22))
        spool.put(broken)  # written, and then the process was killed
        assert (spool.lines(Kind.PATIENT, "p1"), list(spool.people())) == ([], [])
        Intake(spool).take(file, [orjson.dumps(row) for row in record("p1")])
        assert len(spool.lines(Kind.PATIENT, "p1")) == len(record("p1")) - 1
        assert list(spool.people()) == ["p1"]


def test_the_file_opens_with_its_key_alone(tmp_path: Path) -> None:
    path = tmp_path / FILE
    filled(path)
    assert path.stat().st_mode & 0o077 == 0
    with Spool(path, KEY) as spool:
        assert sorted(spool.people()) == ["p1", "p2"]
    with Spool(path, KEY[::-1]) as other:
        assert other.lines(Kind.PATIENT, "p1") == []
        with pytest.raises(VaultError):
            list(other.people())
    data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not [word for word in (*TELLING, "files.example") if word.encode() in data]


def test_a_row_that_was_moved_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / FILE
    filled(path)
    database = sqlite3.connect(path)
    first, second = (owner for (owner,) in database.execute("SELECT owner FROM everybody"))
    database.execute("UPDATE rows SET owner = ? WHERE owner = ?", (first, second))
    database.commit()
    database.close()
    read = lambda spool: [spool.lines(Kind.PATIENT, who) for who in ("p1", "p2")]  # noqa: E731
    with Spool(path, KEY) as spool, pytest.raises(VaultError):
        read(spool)


def test_one_patient_has_no_more_than_so_many_resources(tmp_path: Path) -> None:
    filled(tmp_path / FILE)
    with Spool(tmp_path / FILE, KEY) as spool:
        few = Records(spool, of_files(spool.files()), "bulk", most=3).of("p1")
        assert few == Skipped("failed:too-many")
        assert isinstance(Records(spool, of_files([]), "bulk", most=7).of("p1"), PatientRecord)


def test_a_file_taken_again_counts_once(tmp_path: Path) -> None:
    with Spool(tmp_path / FILE, KEY) as spool:
        spool.expect([Listed("output", "", "https://files.example/1")] * 2)
        (file,) = spool.files()
        for rows in (record("p1")[:2], record("p1")):
            Intake(spool).take(file, [orjson.dumps(row) for row in rows])
        assert len(spool.lines(Kind.PATIENT, "p1")) == len(record("p1")) - 1


def test_what_was_deleted_is_in_no_record_and_the_record_says_so(tmp_path: Path) -> None:
    """Also where a server lists deletions beside a whole export."""
    with Spool(tmp_path / FILE, KEY) as spool:
        spool.expect(Listed(section, "", f"https://f.example/{section}") for section in SECTIONS)
        rows = {"output": record("p1"), "deleted": [DELETION, {"resourceType": "Bundle"}]}
        for file in spool.files("waiting"):
            Intake(spool).take(file, [orjson.dumps(row) for row in rows[file.section]])
        spool.index()
        covered = of_files(spool.files())
        found = Records(spool, covered, "bulk", base=BASE).of("p1")
        assert isinstance(found, PatientRecord)
        assert (covered.total.deleted, covered.total.bad) == ({"Observation": 1}, 1)
        assert "p1-1" not in {resource["id"] for resource in found.resources}
        assert "Observation/p1-1" in found.deleted
        assert "Observation/p1-2" not in found.deleted
        assert (found.base, list(spool.deleted())) == (BASE, ["Observation/p1-1"])


SECTIONS = ("output", "deleted")
DELETION = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [{"request": {"method": "DELETE", "url": "Observation/p1-1"}}],
}


def test_new_addresses_find_their_files_by_place(tmp_path: Path) -> None:
    with Spool(tmp_path / FILE, KEY) as spool:
        old = [
            Listed("output", kind, f"https://f.example/{kind}?old")
            for kind in ("Patient", "Observation")
        ]
        spool.expect(old)
        done = next(spool.files())
        Intake(spool).take(done, [orjson.dumps(heart_rate("o", "p1", 60))])
        spool.relocate([Listed(f.section, f.type, f.url.replace("old", "new")) for f in old])
        assert [f.url[-3:] for f in spool.files()] == ["old", "new"]
        spool.relocate([Listed("output", "Other", "x"), Listed("output", "Other", "y")])
        assert [f.url[-3:] for f in spool.files()] == ["old", "new"]  # another manifest
