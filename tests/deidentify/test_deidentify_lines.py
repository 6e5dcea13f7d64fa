"""Lines that are not parsed give what parsed ones give: bytes, counts, refusals and the entry."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, date, datetime
from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples

from bench.deidentified import forgetful_vault
from privacy import forms, layouts
from privacy.policy import load_policy
from privacy.pseudonyms import Pseudonyms
from privacy.vault import Vault
from service.deidentify import batch as batches
from service.deidentify.batch import Batch
from service.deidentify.people import People
from service.deidentify.reading import read_line
from service.pipeline.guards import deidentifier_of

Json = dict[str, Any]
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
PEOPLE = [
    {"resourceType": "Patient", "id": "p1", "birthDate": "1961-07-19", "name": [{"family": "Zork"}],
     "identifier": [{"value": "MRN-77120"}]},
    {"resourceType": "Patient", "id": "p2", "birthDate": "1930-01-02",
     "name": [{"family": "Laboratory"}]},
]  # fmt: skip
SUBJECTS = (
    *["Patient/p1"] * 12, "Patient/p1/_history/3", "Patient/p2", "Patient/stranger", "Group/p1",
    "https://other.example.org/Patient/p1", "#contained", "Patient/", "",
)  # fmt: skip


def observation(random: Random) -> Json:
    code = random.choice(["8480-6", "2160-0", "30525-0", "no-such-code"])
    return {
        "resourceType": "Observation", "id": f"o{random.randrange(99)}", "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code, "display": "of Zork"}]},
        "subject": {"reference": random.choice(SUBJECTS)},
        "encounter": {"reference": f"Encounter/e{random.randrange(9)}"},
        "effectiveDateTime": random.choice(["2019-03-04T10:11:12Z", "2020", "someday"]),
        "valueQuantity": {"value": random.randrange(1300) / 10, "unit": "mmHg", "system": UCUM,
                          "code": "mm[Hg]"},
    }  # fmt: skip


def laboratory(random: Random) -> Json:
    """Holds the name of one of the patients."""
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    category = [{"coding": [{"system": system, "code": "laboratory"}]}]
    return observation(random) | {"category": category}


def panel(random: Random) -> Json:
    """Times of all precisions, whole numbers and decimals, of several codes."""
    moments = ["2019-03-04T10:11:12Z", "2019-03-04", "2019-03", "1961"]
    parts = [
        {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": {
            "value": random.choice([0, 0.0, -0.5, 97, 1e3, 123456, random.random() * 300]),
            "unit": unit, "system": UCUM, "code": unit}}
        for code, unit in (("8480-6", "mm[Hg]"), ("2160-0", "mg/dL"))
    ]  # fmt: skip
    return observation(random) | {
        "component": parts, "issued": random.choice(moments),
        "effectiveDateTime": random.choice(moments), "valueInteger": random.randrange(10**7),
        "derivedFrom": [{"reference": f"Observation/o{n}"} for n in range(3)],
    }  # fmt: skip


def allergy(random: Random) -> Json:
    return {
        "resourceType": "AllergyIntolerance", "id": f"a{random.randrange(9)}",
        "patient": {"reference": random.choice(SUBJECTS), "display": "Ada"},
        "recordedDate": "2018-07-01", "criticality": "high",
    }  # fmt: skip


def device(random: Random) -> Json:
    return {"resourceType": "Device", "id": f"d{random.randrange(9)}", "status": "active"}


def nameless(random: Random) -> Json:
    made = observation(random)
    del made["id"]
    return made


KINDS = (observation, panel, panel, laboratory, allergy, device, nameless)
SPOILED: dict[str, bytes] = {
    "cut off": b'{"resourceType":"Observation","id":"o1"',
    "twice": b'{"resourceType":"Observation","id":"o1","id":"o2","status":"final"}',
    "no object": b'["Patient/p1"]',
    "a number": b"17",
    "nothing": b"null",
    "no type": b'{"id":"o1","subject":{"reference":"Patient/p1"}}',
    "unknown": b'{"resourceType":"Zork","id":"o1","subject":{"reference":"Patient/p1"}}',
    "no text": b'{"resourceType":"Observation","id":"\xff"}',
    "two owners": b'{"resourceType":"Observation","id":"o1","status":"final","subject":'
                  b'{"reference":"Group/a"},"patient":{"reference":"Patient/p2"}}',
}  # fmt: skip


def lines_of(random: Random) -> list[bytes]:
    """Of each kind enough for it to be learned and used, with all else in between."""
    made = [kind(random) for kind in KINDS for _ in range(12)]
    found = [json.dumps(one, separators=(",", ":")).encode() for one in [*PEOPLE, *made]]
    found += [line.replace(b'":', b'" :') for line in random.sample(found, 5)]
    found += list(SPOILED.values()) * 3
    random.shuffle(found)
    return found


def apart(line: bytes, random: Random) -> bytes | forms.Apart:
    """As whoever read it may have left it."""
    parts = layouts.apart(line)
    return line if parts is None or random.random() < 0.5 else forms.Apart(line, *parts)


def drawn(own: Pseudonyms, kind: str, identity: str) -> str:
    """By chance, but in each run alike."""
    digest = hashlib.sha256(f"drawn for {kind}/{identity}".encode()).digest()[:16]
    return own._ids.setdefault(f"{kind}/{identity}", urlsafe_b64encode(digest).decode()[:22])


def all_drawn(own: Pseudonyms, kind: str, ids: Iterable[str]) -> list[str]:
    return [drawn(own, kind, identity) for identity in ids]


def outcome(vault: Vault, policy: str, bundled: bool, portions: Iterable[Iterable[Any]]) -> Any:
    people = People("batch")
    people.read(PEOPLE)
    day = date(2026, 1, 2)
    batch = Batch(
        load_policy(policy), vault, people, project=secrets.token_hex(8), today=day, keep_open=2
    )
    with (
        batch,
        patch.object(Pseudonyms, "__call__", drawn),
        patch.object(Pseudonyms, "many", all_drawn),
        patch.object(batches, "draw_epoch", lambda day: datetime(2001, 2, 3, 4, 5, tzinfo=UTC)),
    ):
        given = [batch.apply(some, bundled=bundled) for some in portions]
        tally = batch.close()
    tally.people.sort()  # lines that are alike are judged first
    return given, tally, batch.entry([]) | {"time": "now"}


@given(st.integers(0, 10**9), st.sampled_from(["safe-harbor", "date-shift"]), st.booleans())
@settings(max_examples=examples(50))
def test_lines_and_what_they_are_parsed_to_come_out_the_same(
    seed: int, policy: str, bundled: bool
) -> None:
    random = Random(seed)
    lines = lines_of(random)
    given = [apart(line, random) for line in lines]
    portions = [given[start : start + 30] for start in range(0, len(given), 30)]
    vault = forgetful_vault()
    deidentifier = deidentifier_of(policy)
    with patch.object(deidentifier, "forms", forms.Forms(deidentifier.planner)):
        made = outcome(vault, policy, bundled, portions)
        assert bool(deidentifier.forms._known) == (forms._apart is not None)
        written = [write for _, write in batches.lines_of(policy)._known.values()]
        assert any(written) == (forms._apart is not None)
    whole = [map(read_line, lines[start : start + 30]) for start in range(0, len(lines), 30)]
    assert made == outcome(vault, policy, bundled, whole)
