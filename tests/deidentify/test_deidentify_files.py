"""Files in, files out: no identity, valid FHIR, one patient's things together, all recorded."""

import gzip
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from fhir.resources.R4B.bundle import Bundle
from support.shell import Shell

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
MARKERS = ("Zorkmidt", "MRN-77120", "1961-07-19", "Winterhold", "o-one", "e-one")


def patient(identity: str = "p-one", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": identity,
        "identifier": [{"system": "http://h.example.org", "value": f"MRN-77120-{identity}"}],
        "name": [{"family": "Zorkmidt", "given": ["Ada"]}],
        "gender": "female",
        "birthDate": "1961-07-19",
        "address": [{"city": "Winterhold", "state": "MA", "postalCode": "02138", "country": "US"}],
        **more,
    }


def observation(identity: str = "o-one", subject: str = "Patient/p-one") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8480-6", "display": "of Zorkmidt"}]},
        "subject": {"reference": subject, "display": "Ada Zorkmidt"},
        "encounter": {"reference": "Encounter/e-one"},
        "effectiveDateTime": "2019-03-04T10:11:12Z",
        "note": [{"text": "Zorkmidt came from Winterhold"}],
        "valueQuantity": {"value": 131, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
    }


def encounter() -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": "e-one",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": "Patient/p-one"},
        "period": {"start": "2019-03-04T10:00:00Z"},
    }


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
    return Shell(tmp_path / "home")


def ndjson(folder: Path, *resources: dict[str, Any]) -> Path:
    folder.mkdir()
    for resource in resources:
        with (folder / f"{resource['resourceType']}-of-Zorkmidt.ndjson").open("ab") as file:
            file.write(orjson.dumps(resource) + b"\n")
    return folder


def everything(folder: Path) -> str:
    names = " ".join(path.name for path in folder.iterdir())
    return names + "".join(path.read_text("utf-8") for path in folder.iterdir())


def rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_a_folder_of_ndjson_comes_out_without_identity(shell: Shell, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "in", observation(), patient(), encounter())
    out = tmp_path / "out"
    said = shell("deidentify", source, "--out", out, "--json")
    assert said.code == 0, said.err
    assert not [marker for marker in MARKERS if marker in everything(out) + said.out + said.err]
    assert {path.name for path in out.iterdir()} == {
        "Patient.ndjson", "Observation.ndjson", "Encounter.ndjson", "report.json",
    }  # fmt: skip
    (who,), (what,), (where,) = (
        rows(out / f"{name}.ndjson") for name in ("Patient", "Observation", "Encounter")
    )
    assert what["subject"]["reference"] == f"Patient/{who['id']}"
    assert what["encounter"]["reference"] == f"Encounter/{where['id']}"
    assert what["effectiveDateTime"] == "2019"
    assert what["valueQuantity"]["value"] == 131
    assert said.json["written"] == {"Patient": 1, "Observation": 1, "Encounter": 1}
    assert all(path.stat().st_mode & 0o077 == 0 for path in out.iterdir())


def test_a_bundle_stays_a_bundle_whose_references_lead_somewhere(
    shell: Shell, tmp_path: Path
) -> None:
    request = {"method": "POST", "url": "Patient?family=Zorkmidt",
               "ifNoneExist": "identifier=http://h.example.org|MRN-77120-p-one"}  # fmt: skip
    entries = [
        {"fullUrl": f"urn:uuid:{r['id']}", "resource": r, "request": request,
         "link": [{"relation": "self", "url": "Patient?family=Zorkmidt"}]}
        for r in (patient(), encounter(), observation(subject="urn:uuid:p-one"))
    ]  # fmt: skip
    source = tmp_path / "Zorkmidt.json.gz"
    link = {"relation": "self", "url": "https://h.example.org/Patient?family=Zorkmidt"}
    bundle = {"resourceType": "Bundle", "type": "transaction", "link": [link], "entry": entries}
    source.write_bytes(gzip.compress(orjson.dumps(bundle)))
    assert shell("deidentify", source, "--out", tmp_path / "out").code == 0
    made = orjson.loads((tmp_path / "out" / "0001.json").read_bytes())
    Bundle.model_validate(made)
    urls = {entry["resource"]["resourceType"]: entry["fullUrl"] for entry in made["entry"]}
    result = made["entry"][2]["resource"]
    assert result["subject"]["reference"] == urls["Patient"]
    assert result["encounter"]["reference"] == urls["Encounter"]
    assert not [marker for marker in MARKERS if marker in everything(tmp_path / "out")]


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ("safe-harbor", r"2019"),
        ("relative-minutes", r"2019"),
        ("date-shift", r"20(18|19|20)-\d\d-\d\dT10:11:00Z"),
        ("limited-data-set", r"2019-03-04T10:11:00Z"),
    ],
)
def test_time_is_as_exact_as_the_policy_says(
    shell: Shell, tmp_path: Path, policy: str, shown: str
) -> None:
    source = ndjson(tmp_path / "in", patient(), observation())
    shell("deidentify", source, "--policy", policy, "--out", tmp_path / "out")
    (made,) = rows(tmp_path / "out" / "Observation.ndjson")
    assert re.fullmatch(shown, made["effectiveDateTime"])
    if policy == "date-shift":
        assert not made["effectiveDateTime"].startswith("2019-03-04")


def test_the_same_person_keeps_pseudonym_and_shift_from_run_to_run(
    shell: Shell, tmp_path: Path
) -> None:
    source = ndjson(tmp_path / "in", patient(), observation())
    for out in ("one", "two"):
        shell("deidentify", source, "--policy", "date-shift", "--out", tmp_path / out)
    one, two = (rows(tmp_path / out / "Observation.ndjson") for out in ("one", "two"))
    assert one == two


def test_files_and_twins_of_one_person_share_no_pseudonym(shell: Shell, tmp_path: Path) -> None:
    bundle = {"resourceType": "Bundle", "type": "collection",
              "entry": [{"resource": r} for r in (patient(), observation())]}  # fmt: skip
    (tmp_path / "in.json").write_bytes(orjson.dumps(bundle))
    shell("run", "--bundle", tmp_path / "in.json", "--out", tmp_path / "twin")
    shell("deidentify", tmp_path / "in.json", "--out", tmp_path / "out")
    from privacy.render import fhir_id

    twin = orjson.loads((tmp_path / "twin" / "twin.json").read_bytes())
    text = (tmp_path / "out" / "0001.json").read_text("utf-8")
    ids = re.findall(r'"ids":\["([\w-]{22})"', orjson.dumps(twin).decode().replace(" ", ""))
    assert not [name for name in ids if fhir_id(name) in text]


def test_everything_refused_is_counted_and_nothing_of_it_is_written(
    shell: Shell, tmp_path: Path
) -> None:
    source = ndjson(
        tmp_path / "in",
        patient(),
        observation(),
        {**observation("o-two"), "modifierExtension": [{"url": "http://x"}]},
        {"resourceType": "Coverage", "id": "c", "status": "Zorkmidt"},
        observation("o-three", "Group/g"),
    )
    with (source / "bad.ndjson").open("wb") as file:
        file.write(b'{"resourceType": "Observation", "id":\n')
    said = shell("deidentify", source, "--out", tmp_path / "out", "--json").json
    refused = {(row["type"], row["reason"]): row["n"] for row in said["refusals"]}
    assert refused == {
        ("Coverage", "type-out-of-scope"): 1,
        ("Observation", "refused-element"): 1,
        ("Observation", "unknown-subject"): 1,
        ("unknown", "no-type"): 1,
    }
    assert len(rows(tmp_path / "out" / "Observation.ndjson")) == 1


def test_a_resource_in_which_the_patients_identity_is_found_is_withheld(
    shell: Shell, tmp_path: Path
) -> None:
    """A record number that is spelled like a code: the search knows no policy."""
    who = patient(identifier=[{"value": "8480-6"}])
    source = ndjson(tmp_path / "in", who, observation())
    said = shell("deidentify", source, "--out", tmp_path / "out", "--json").json
    assert {"type": "Observation", "reason": "identity-found", "n": 1} in said["refusals"]
    assert not (tmp_path / "out" / "Observation.ndjson").exists()


def test_a_single_resource_without_its_patient_is_de_identified(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "one.json").write_bytes(orjson.dumps(observation()))
    assert shell("deidentify", tmp_path / "one.json", "--out", tmp_path / "out").code == 0
    made = orjson.loads((tmp_path / "out" / "0001.json").read_bytes())
    assert made["resourceType"] == "Observation"
    assert not [marker for marker in MARKERS if marker in everything(tmp_path / "out")]


def test_the_ledger_binds_what_was_written(shell: Shell, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "in", patient(), observation())
    said = shell("deidentify", source, "--out", tmp_path / "out", "--json").json
    assert shell("ledger", "verify").code == 0
    shell("ledger", "export", tmp_path / "ledger.jsonl")
    entry = orjson.loads((tmp_path / "ledger.jsonl").read_bytes().splitlines()[0])["entry"]
    assert entry["event"] == "files-deidentified"
    assert entry["outputs"] == said["outputs"]
    assert len(entry["time"]) == 4
    assert not [marker for marker in MARKERS if marker in orjson.dumps(entry).decode()]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not json", "is not JSON"), (b'{"resourceType":"Bundle","entry":7}', "malformed entry")],
)
def test_what_cannot_be_read_leaves_nothing_behind(
    shell: Shell, tmp_path: Path, content: bytes, message: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.json").write_bytes(orjson.dumps(patient()))
    (folder / "b.json").write_bytes(content)
    said = shell("deidentify", folder, "--out", tmp_path / "out")
    assert said.code == 3
    assert "file 2 of 2, in the order of their names: " in said.error
    assert message in said.error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_two_people_under_one_id_are_not_taken_for_one(shell: Shell, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "in", patient(), patient(identifier=[{"value": "another"}]))
    said = shell("deidentify", source, "--out", tmp_path / "out")
    assert (said.code, "two people under one id" in said.error) == (3, True)


def test_nothing_is_written_into_a_folder_that_holds_something(
    shell: Shell, tmp_path: Path
) -> None:
    source = ndjson(tmp_path / "in", patient())
    said = shell("deidentify", source, "--out", source)
    assert said.code == 3
    assert "not empty" in said.error


def test_the_day_ages_are_told_for_can_be_given(shell: Shell, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "in", patient())
    shell("deidentify", source, "--as-of", "2011-07-20", "--out", tmp_path / "out")
    (made,) = rows(tmp_path / "out" / "Patient.ndjson")
    assert made["extension"][0]["valueQuantity"]["value"] == 50
    assert shell("deidentify", source, "--as-of", "soon", "--out", tmp_path / "x").code == 2
    assert shell("deidentify", source, "--as-of", "2999-01-01", "--out", tmp_path / "x").code == 2
