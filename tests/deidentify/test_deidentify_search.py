"""What identifies is searched for in everything at once; what is left out is what holds it."""

import base64
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from privacy.policy import load_policy
from privacy.pseudonyms import Pseudonyms
from privacy.render import fhir_id
from privacy.vault import Vault
from service.deidentify import batch as batches
from service.deidentify.batch import Batch, Given
from service.deidentify.files import PORTION, Inputs, people_of, write
from service.deidentify.people import People
from service.stores import Database
from service.stores.vault import SqlVaultStore

Json = dict[str, Any]
Begin = Callable[..., Batch]
LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
HIDDEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "backwards": lambda text: text[::-1],
    "inside another": lambda text: f"x{text}x",
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "percent": lambda text: quote(text).replace("-", "%2D"),
}


def person(identity: str, family: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "id": identity, "birthDate": "1961-07-19",
            "name": [{"family": family}], **more}  # fmt: skip


def observation(identity: str, of: str = "p-one", category: str = "exam", **more: Any) -> Json:
    return {
        "resourceType": "Observation", "id": identity, "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": "8480-6"}]},
        "subject": {"reference": f"Patient/{of}"}, **more,
    }  # fmt: skip


@pytest.fixture
def begin(database: Database) -> Iterator[Begin]:
    vault = Vault(SqlVaultStore(database), secrets.token_bytes(32))
    with ExitStack() as ends:

        def begin(*resources: Json) -> Batch:
            people = People("batch")
            people.read_all(resources)
            policy = load_policy("safe-harbor")
            batch = Batch(policy, vault, people, project="p", today=date(2026, 1, 2), keep_open=8)
            return ends.enter_context(batch)

        yield begin


def kinds(given: list[Given]) -> list[str]:
    return [one.type for one in given]


def test_only_what_holds_the_name_is_left_out_and_only_of_its_patient(begin: Begin) -> None:
    """The name of one is a word in the other's resources, where it says nothing."""
    resources = [
        person("p-one", "Laboratory"),
        person("p-two", "Vital"),
        *(observation(f"o{n}", category=c) for n, c in enumerate(("exam", "laboratory") * 3)),
        observation("theirs", of="p-two", category="laboratory"),
    ]
    batch = begin(*resources)
    made = batch.apply(resources)
    assert kinds(made) == ["Patient", "Patient", *["Observation"] * 4]
    assert b"laboratory" in made[-1].data
    assert not any(b"laboratory" in given.data for given in made[:-1])
    assert batch.tally.refusals == {("Observation", "identity-found"): 3}
    assert batch.tally.written == {"Patient": 2, "Observation": 4}


def test_no_reference_leads_to_what_was_left_out(begin: Begin) -> None:
    panel = observation("panel", hasMember=[{"reference": f"Observation/o{n}"} for n in (1, 2)])
    resources = [
        person("p-one", "Laboratory"), panel,
        observation("o1", category="laboratory"), observation("o2"),
    ]  # fmt: skip
    made = begin(*resources).apply(resources, bundled=True)
    entries = [orjson.loads(given.data) for given in made]
    assert kinds(made) == ["Patient", "Observation", "Observation"]
    gone, there = [one["reference"] for one in entries[1]["resource"]["hasMember"]]
    assert gone.startswith("Observation/")
    assert there == entries[2]["fullUrl"]


def test_a_clinic_called_clinical_withholds_no_condition(begin: Begin) -> None:
    """The address of a code system is everybody's."""
    condition = {
        "resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p-one"},
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "active"}]},
        "recorder": {"display": "Riverside Clinical Terminology"},
    }  # fmt: skip
    resources = [person("p-one", "Zorkmidt"), condition]
    batch = begin(*resources)
    assert kinds(batch.apply(resources)) == ["Patient", "Condition"]
    assert batch.tally.refusals == {}


PLACES: dict[str, Callable[[Json, str], None]] = {
    "a value": lambda made, text: made.update(status=text),
    "a name": lambda made, text: made.update({text: 1}),
    "deep": lambda made, text: made.update(code={"coding": [{"system": LOINC, "code": text}]}),
}


@pytest.mark.parametrize("way", HIDDEN)
@pytest.mark.parametrize("bundled", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_what_slips_through_the_policy_is_found_wherever_it_stands(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, way: str, bundled: bool, place: str
) -> None:
    """A de-identifier that lets one string of one resource pass."""
    resources = [person("p-one", "Zorkmidt-Hale"), *(observation(f"o{n}") for n in range(4))]
    batch = begin(*resources)
    leaking = fhir_id(batch._work("p-one").session.pseudonym("Observation", "o2"))

    class Leaking(batches.Renderer):
        def resource(self, record: Json) -> Json:
            made = super().resource(record)
            if made["id"] == leaking:
                PLACES[place](made, HIDDEN[way]("Zorkmidt-Hale"))
            return made

    monkeypatch.setattr(batches, "Renderer", Leaking)
    made = batch.apply(resources, bundled=bundled)
    assert kinds(made) == ["Patient", *["Observation"] * 3]
    assert batch.tally.refusals == {("Observation", "identity-found"): 1}


@pytest.mark.parametrize("back", [1, -1])
@pytest.mark.parametrize("bundled", [False, True])
def test_an_id_that_was_taken_over_is_found_although_it_looks_drawn(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, back: int, bundled: bool
) -> None:
    source = "0123456789abcdef0123456789abcdef"
    taken = base64.urlsafe_b64encode(bytes.fromhex(source[::back])).decode().rstrip("=")
    drawn = Pseudonyms.__call__

    def taking(own: Pseudonyms, kind: str, identity: str) -> str:
        return taken if identity == source else drawn(own, kind, identity)

    monkeypatch.setattr(Pseudonyms, "__call__", taking)
    resources = [
        person("p-one", "Zorkmidt"), observation(source), observation("o2"),
        observation("o3", derivedFrom=[{"reference": f"Observation/{source}"}]),
    ]  # fmt: skip
    batch = begin(*resources)
    assert kinds(batch.apply(resources, bundled=bundled)) == ["Patient", "Observation"]
    assert batch.tally.refusals == {("Observation", "identity-found"): 2}


def test_a_source_id_of_our_own_shape_comes_back_under_another_one(begin: Begin) -> None:
    source = "0123456789abcdef0123456789abcdef"
    resources = [person("p-one", "Zorkmidt"), observation(source)]
    made = begin(*resources).apply(resources)
    assert kinds(made) == ["Patient", "Observation"]
    assert source.encode() not in made[1].data


def test_a_long_file_is_searched_a_portion_at_a_time(begin: Begin, tmp_path: Any) -> None:
    """Each line stays in its place, and what is left out is left out in every portion."""
    note = [{"text": "Nothing of note. " * (PORTION // 80)}]
    categories = ("exam", "laboratory", "exam")
    lines = [observation(f"o{n}", category=categories[n % 3], note=note) for n in range(15)]
    lines.insert(3, person("p-one", "Laboratory"))
    (tmp_path / "in.ndjson").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    inputs = Inputs.of(tmp_path / "in.ndjson")
    assert (tmp_path / "in.ndjson").stat().st_size > 2 * PORTION
    batch = begin(lines[3])
    outputs: list[Json] = []
    seen: list[int] = []
    write(inputs, batch, tmp_path / "out", record=outputs.extend, seen=seen.append)
    assert (sum(seen), len(seen)) == (16, 3)
    assert {one["name"]: one["n"] for one in outputs} == {
        "Observation.ndjson": 10, "Patient.ndjson": 1,
    }  # fmt: skip
    assert batch.tally.refusals == {("Observation", "identity-found"): 5}
    work = batch._work("p-one").session
    expected = [fhir_id(work.pseudonym("Observation", f"o{n}")) for n in range(15) if n % 3 != 1]
    written = (tmp_path / "out" / "Observation.ndjson").read_bytes().splitlines()
    assert [orjson.loads(line)["id"] for line in written] == expected


def test_a_patient_is_known_before_the_run_however_the_line_spells_it(tmp_path: Any) -> None:
    lines = [
        orjson.dumps(person("plain", "A")),
        orjson.dumps(person("spaced", "B")).replace(b":", b" : "),
        orjson.dumps(person("spelled", "C")).replace(b'"Patient"', b'"\\u0050atient"'),
        orjson.dumps(person("last", "D") | {"a": 1}, option=orjson.OPT_SORT_KEYS),
        orjson.dumps(person("key", "E")).replace(b'"resourceType"', b'"\\u0072esourceType"'),
        orjson.dumps(observation("o1", of="unknown")),
        b'{"resourceType":"Observation","resourceType":"Patient","id":"twice"}',
        b'{"resourceType":"Patient"',
        b'{"resourceType":"Patient',
    ]
    (tmp_path / "in.ndjson").write_bytes(b"\n".join(lines))
    people = people_of(Inputs.of(tmp_path / "in.ndjson"), "batch")
    assert people.by_id.keys() == {"plain", "spaced", "spelled", "last", "key"}
