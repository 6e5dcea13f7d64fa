"""`twinport export`: every form read back by something nobody here wrote."""

import csv
import re
import stat
from pathlib import Path

import duckdb
import orjson
import pyarrow.parquet as pq
import pytest
from cli_records import Home
from fhir.resources.R4B.bundle import Bundle
from support.shell import Shell

from twin_engine.tables import LONG


@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("twin", {"twin.json"}),
        ("fhir", {"fhir.json"}),
        ("ips", {"ips.json"}),
        ("csv", {"long.csv", "wide.csv", "README.txt"}),
        ("parquet", {"long.parquet", "wide.parquet", "README.txt"}),
        (
            "omop",
            {"person.csv", "measurement.csv", "condition_occurrence.csv", "drug_exposure.csv"}
            | {"procedure_occurrence.csv", "observation.csv", "README.txt"},
        ),
    ],
)
def test_each_form_writes_its_files_for_their_owner_only(
    twinport: Shell, home: Home, tmp_path: Path, form: str, files: set[str]
) -> None:
    said = twinport("export", home.second, "--to", form, "--out", tmp_path / "out", "--json")
    assert set(said.json["files"]) == files
    found = list((tmp_path / "out").iterdir())
    assert {path.name for path in found} == files
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}


@pytest.mark.parametrize("form", ["fhir", "ips"])
def test_fhir_is_accepted_and_holds_no_date(
    twinport: Shell, home: Home, tmp_path: Path, form: str
) -> None:
    twinport("export", home.second, "--to", form, "--out", tmp_path)
    data = (tmp_path / f"{form}.json").read_bytes()
    Bundle.model_validate_json(data)
    assert not re.search(rb"\"(19|20)\d\d-\d\d", data)
    assert b"Sandquist" not in data


def test_a_dated_summary_carries_todays_date(twinport: Shell, home: Home, tmp_path: Path) -> None:
    twinport("export", home.second, "--to", "ips", "--dated", "--out", tmp_path)
    made = orjson.loads((tmp_path / "ips.json").read_bytes())
    assert made["timestamp"] == made["entry"][0]["resource"]["date"]
    assert twinport("export", home.second, "--to", "csv", "--dated", "--out", tmp_path).code == 2


def test_csv_and_parquet_say_the_same(twinport: Shell, home: Home, tmp_path: Path) -> None:
    twinport("export", home.second, "--to", "csv", "--out", tmp_path)
    twinport("export", home.second, "--to", "parquet", "--out", tmp_path)
    with (tmp_path / "long.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "long.parquet")
    assert table.column_names == list(LONG)
    stored = table.to_pylist()
    assert [row["source"] for row in written] == [row["source"] for row in stored]
    numbers = [float(row["value"]) if row["value"] else None for row in written]
    assert numbers == [row["value"] for row in stored]
    wide = duckdb.read_parquet(str(tmp_path / "wide.parquet"))
    assert "creatinine (mg/dL)" in wide.columns


def test_omop_says_beside_the_tables_that_its_dates_are_not_real(
    twinport: Shell, home: Home, tmp_path: Path
) -> None:
    twinport("export", home.second, "--to", "omop", "--out", tmp_path)
    readme = (tmp_path / "README.txt").read_text()
    assert "DATES ARE NOT REAL" in readme
    assert "Left out here:" in readme
    counted = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/measurement.csv'").fetchall()
    assert counted == [(4,)]


def test_several_files_make_one_set_of_tables(twinport: Shell, home: Home, tmp_path: Path) -> None:
    twinport("export", home.first, home.second, "--to", "omop", "--out", tmp_path)
    people = duckdb.sql(f"SELECT person_id FROM '{tmp_path}/person.csv'").fetchall()
    assert people == [(1,), (2,)]
    said = twinport("export", home.first, home.second, "--to", "twin", "--out", tmp_path, "--json")
    assert len(set(said.json["files"])) == 2


def test_an_earlier_version_is_had_as_it_was_signed(
    twinport: Shell, home: Home, tmp_path: Path
) -> None:
    name = twinport("verify", home.second, "--json").json["twin"]
    for number, file in ((1, home.first), (2, home.second)):
        out = tmp_path / str(number)
        twinport("export", "--twin", name, "--version", number, "--to", "twin", "--out", out)
        assert (out / "twin.json").read_bytes() == file.read_bytes()
    newest = tmp_path / "newest"
    twinport("export", "--twin", name, "--to", "twin", "--out", newest)
    assert (newest / "twin.json").read_bytes() == home.second.read_bytes()


def test_a_version_that_is_not_kept_is_refused(twinport: Shell, home: Home, tmp_path: Path) -> None:
    name = twinport("verify", home.second, "--json").json["twin"]
    said = twinport("export", "--twin", name, "--version", 9, "--to", "twin", "--out", tmp_path)
    assert (said.code, said.error) == (3, "no such twin, or no such version of it, is kept here")


def test_one_source_of_twins_is_needed(twinport: Shell, home: Home, tmp_path: Path) -> None:
    assert twinport("export", "--to", "csv", "--out", tmp_path).code == 2
    both = twinport("export", home.first, "--twin", "x", "--to", "csv", "--out", tmp_path)
    assert both.code == 2
    file = twinport("export", home.first, "--version", 1, "--to", "csv", "--out", tmp_path)
    assert file.code == 2


def test_a_changed_file_is_not_exported(twinport: Shell, home: Home, tmp_path: Path) -> None:
    forged = tmp_path / "twin.json"
    forged.write_bytes(home.second.read_bytes().replace(b'"v":[201]', b'"v":[101]'))
    said = twinport("export", forged, "--to", "csv", "--out", tmp_path / "out")
    assert said.code == 7
    assert not (tmp_path / "out").exists()
