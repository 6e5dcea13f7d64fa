"""Folders of NDJSON: whose each line is, what a bad one costs, any number of files."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from bulk_scene import TELLING, heart_rate, record, slices, twins
from hypothesis import given
from hypothesis import strategies as st
from support.shell import Shell, python

from service.bulk.folder import opened
from service.bulk.records import Records, Skipped
from service.fhir.errors import SourceError
from service.fhir.record import PatientRecord, SafetyEvent
from service.fhir.source import split_lines

Resource = dict[str, Any]


def write(folder: Path, **files: Iterable[Resource | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        (folder / f"{name}.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    return folder


def read(folder: Path, cap: int = 1 << 20) -> list[PatientRecord]:
    with opened(folder, folder.parent / "spool", cap=cap) as found:
        records = list(found.records())
    assert not list((folder.parent / "spool").iterdir())
    return records


def part(found: PatientRecord, kind: str) -> Resource:
    return next(s for s in found.completeness["slices"] if s["type"] == kind)


def ids(found: PatientRecord) -> list[str]:
    return [resource["id"] for resource in found.resources]


def person(identity: str = "p1", **more: Any) -> Resource:
    return {"resourceType": "Patient", "id": identity, **more}


# -- whose it is -----------------------------------------------------------------------------------


def test_patients_are_gathered_across_files_packed_or_not(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", Patient=[person("p1"), person("p2")])
    rows = [heart_rate(f"o{n}", f"p{n % 2 + 1}", 60) for n in range(4)]
    packed = b"\n".join(json.dumps(row).encode() for row in rows[:2])
    (folder / "1.Observation.NDJSON.gz").write_bytes(gzip.compress(packed))
    write(folder, second=rows[2:])
    found = {record.patient_id: record for record in read(folder)}
    assert ids(found["p1"]) == ["p1", "o0", "o2"]
    assert ids(found["p2"]) == ["p2", "o1", "o3"]
    assert found["p1"].completeness["basis"] == "ndjson"
    assert not any(slice_["asked"] for slice_ in found["p1"].completeness["slices"])
    assert part(found["p1"], "Observation")["verdict"] == "complete"
    assert part(found["p1"], "Procedure")["reason"] == "not-in-file"


def test_the_newest_version_counts_whatever_file_it_is_in(tmp_path: Path) -> None:
    new, old = (
        heart_rate("o", "p1", value) | {"meta": {"versionId": v}}
        for v, value in (("2", 70), ("1", 60))
    )
    folder = write(tmp_path / "in", a=[new], b=[person(), old])
    (found,) = read(folder)
    assert found.resources[1]["valueQuantity"]["value"] == 70
    assert part(found, "Observation")["duplicates"] == 1


def test_medications_come_with_the_orders_that_name_them(tmp_path: Path) -> None:
    whole = record("p1")
    (found,) = read(write(tmp_path / "in", all=[*whole, {"resourceType": "Medication", "id": "x"}]))
    assert "m-p1" in ids(found)
    assert "x" not in ids(found)
    without = [row for row in whole if row["resourceType"] != "Medication"]
    (found,) = read(write(tmp_path / "other", all=without))
    assert part(found, "MedicationRequest")["reason"] == "medication-unread"


def test_what_is_nobodys_here_is_told_once_and_is_in_no_record(tmp_path: Path) -> None:
    rows = [person(), heart_rate("o", "somebody", 60), {**heart_rate("u", "p1", 60), "subject": {}}]
    folder = write(tmp_path / "in", all=[*rows, {"resourceType": "Claim", "id": "c"}])
    with opened(folder, tmp_path / "spool") as found:
        assert (found.people, found.report.strangers) == (1, 1)
        assert found.report.coverage.total.outside == {"Claim": 1}
        (one,) = found.records()
    assert (ids(one), one.safety) == (["p1"], [])
    assert part(one, "Observation")["dropped"] == {"subject-unproven": 1}


MERGES: list[tuple[str, dict[str, str], dict[str, list[str]], str]] = [
    ("one into the other", {"a": "b"}, {"b": ["o-a", "o-b"]}, "merged"),
    ("a chain", {"a": "b", "b": "c"}, {"c": ["o-a", "o-b", "o-c"]}, "merged"),
    ("in a circle", {"a": "b", "b": "a"}, {}, "merge-circle"),
    ("out of sight", {"a": "z"}, {"b": ["o-b"]}, "merged-elsewhere"),
]


@pytest.mark.parametrize(("name", "links", "expected", "why"), MERGES)
def test_merged_records(
    tmp_path: Path, name: str, links: dict[str, str], expected: dict[str, list[str]], why: str
) -> None:
    people = sorted({*links, *links.values(), *expected} - {"z"})
    rows = [person(p, link=_replaced(links[p])) if p in links else person(p) for p in people]
    folder = write(tmp_path / "in", all=[*rows, *(heart_rate(f"o-{p}", p, 60) for p in people)])
    with opened(folder, tmp_path / "spool") as found:
        every = dict(Records(found._spool, found.report.coverage, "ndjson").everybody())
    made = {who: r for who, r in every.items() if isinstance(r, PatientRecord)}
    assert {who: ids(r)[1:] for who, r in made.items()} == expected
    assert {r.why for r in every.values() if isinstance(r, Skipped)} == {why}
    for who, one in made.items():
        count = len(expected[who]) - 1
        assert one.safety == ([SafetyEvent("patient-merged", "Patient", count)] if count else [])
        assert {r["subject"]["reference"] for r in one.resources[1:]} == {f"Patient/{who}"}


def _replaced(by: str) -> list[Resource]:
    return [{"type": "replaced-by", "other": {"reference": f"Patient/{by}"}}]


# -- what is lost ----------------------------------------------------------------------------------


def test_a_bad_line_costs_its_type_and_nothing_else(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "in",
        Patient=[person()],
        Observation=[heart_rate("o", "p1", 60), b"{oops", b"7", b"", b"  "],
        Condition=[
            {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p1"}}
        ],
    )
    (found,) = read(folder)
    row = part(found, "Observation")
    assert (row["verdict"], row["dropped"]) == ("partial", {"bad-line": 2})
    assert part(found, "Condition")["verdict"] == "complete"


def test_a_bad_line_of_a_mixed_file_could_have_been_any(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path / "in", all=[*record("p1"), b"{oops"]))
    verdicts = {s["type"]: s["verdict"] for s in found.completeness["slices"]}
    del verdicts["Patient"], verdicts["Medication"]
    assert "complete" not in verdicts.values()


def test_a_file_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", good=record("p1"))
    (folder / "torn.ndjson.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    (folder / "picture.ndjson").write_bytes(bytes(range(256)))
    (found,) = read(folder)
    assert {s["reason"] for s in found.completeness["slices"] if s["verdict"] != "complete"}
    with opened(folder, tmp_path / "spool") as again:
        assert again.report.failures == {"source": 1, "not-fhir": 1}


def test_a_log_among_the_files_is_no_loss(tmp_path: Path) -> None:
    """As the client `smart-fetch` leaves one beside its files."""
    folder = write(tmp_path / "in", all=record("p1"), log=[{"eventId": "kickoff"}])
    with opened(folder, tmp_path / "spool") as found:
        assert found.report.files == {"done": 1, "ignored": 1}
        assert found.report.complete


REFUSED: dict[str, tuple[dict[str, list[Any]], str]] = {
    "nothing": ({}, "holds no NDJSON"),
    "no patient": ({"a": [heart_rate("o", "p1", 60)]}, "holds no Patient"),
    "nothing good": ({"a": [b"<html>"]}, "no resources"),
}


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED)
def test_a_folder_of_no_use_is_refused(
    tmp_path: Path, files: dict[str, list[Any]], words: str
) -> None:
    folder = write(tmp_path / "in", **files)
    with pytest.raises(Exception, match=words), opened(folder, tmp_path / "spool"):
        pass
    with pytest.raises(SourceError, match="holds no NDJSON"):
        read(tmp_path / "Jane_Roe")


def test_a_file_that_unpacks_beyond_the_limit(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", good=record("p1"))
    (folder / "bomb.ndjson.gz").write_bytes(gzip.compress(bytes(1 << 22)))
    (found,) = read(folder)
    assert part(found, "Observation")["reason"] == "source"


# -- lines -----------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=12)), st.integers(1, 7), st.integers(1, 9))
def test_lines_are_the_same_however_they_arrive(rows: list[bytes], size: int, cap: int) -> None:
    whole = b"\n".join(rows)
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    expected = [None if len(r) > cap else r.strip() for r in whole.split(b"\n")]
    assert list(split_lines(pieces, cap)) == [r for r in expected if r != b""]


# -- how much of it is held ------------------------------------------------------------------------

READER = """
import resource, sys
from pathlib import Path
from service.bulk.folder import opened
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before, people, rows = used(), 0, 0
with opened(Path(sys.argv[1]), Path(sys.argv[2])) as found:
    for record in found.records():
        people, rows = people + 1, rows + len(record.resources)
print(people, rows, used() - before)
"""


@pytest.mark.slow
def test_a_population_is_never_held_as_a_whole(tmp_path: Path) -> None:
    """Forty megabytes of lines, some two hundred as objects, take a tenth of that."""
    note = [{"text": "x" * 300}]
    rows = (heart_rate(f"o{n}", f"p{n % 400}", 60) | {"note": note} for n in range(60_000))
    folder = write(tmp_path / "in", Patient=[person(f"p{n}") for n in range(400)], Observation=rows)
    with python("-c", READER, folder, tmp_path / "spool", home=tmp_path) as process:
        said, _ = process.communicate(timeout=900)
    people, resources, megabytes = map(int, said.split())
    assert (people, resources) == (400, 60_400)
    assert megabytes < 40


# -- through the command line ----------------------------------------------------------------------


def test_many_small_files_make_twins_and_say_what_was_lost(shell: Shell, tmp_path: Path) -> None:
    rows = {f"f{n}": [row] for n, row in enumerate([*record("p1"), *record("p2", 1)])}
    rows |= {f"g{n:04}": [heart_rate(f"g{n}", "p1", 60)] for n in range(100)}
    rows["bad"] = [b"{oops Zorkmidt", heart_rate("h", "p2", 61)]
    folder, out = write(tmp_path / "in", **rows), tmp_path / "out"
    ran = shell("run", "--ndjson", folder, "--out", out)
    assert ran.code == 0
    assert "1 lines can't be read" in ran.err
    assert b"oops" not in (out / "quarantine.jsonl").read_bytes()
    counts = sorted(slices(twin)["Observation"]["matches"] for twin in twins(out))
    assert counts == [4, 103]
    assert not [word for word in TELLING if word in ran.out + ran.err]
    one = shell("run", "--ndjson", folder, "--patient", "p2", "--json")
    assert len(one.jsons) == 1
    assert shell("run", "--ndjson", folder, "--patient", "nobody").code == 3
