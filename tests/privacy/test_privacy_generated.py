"""Markers in every leaf of random resources: none comes out, whatever the shape."""

import json
import threading
from datetime import UTC, date, datetime
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import DAY, MARKER, NUMBER, Generator
from privacy_support import GUARDS, MINUTES, SAFE_HARBOR, UNITS, session
from support.depth import examples

from privacy.deidentify import Deidentifier, Refused
from privacy.elements import IN_SCOPE, elements_of
from privacy.gate import check, collect_identifiers
from privacy.ledger import canonical, twin_entry
from privacy.policy import load_policy
from privacy.pseudonyms import Pseudonyms
from privacy.subject import draw_epoch

SCOPE = sorted(IN_SCOPE)
LEAKS = (MARKER, DAY, DAY.replace("-", ""), "12:34", "23:59", str(NUMBER), "555-")


def run(seed: int, deidentifier: Deidentifier = SAFE_HARBOR) -> str:
    """One resource through everything; all that came out."""
    generator = Generator(seed)
    source = generator.resource(SCOPE[seed % len(SCOPE)])
    pseudonyms = Pseudonyms()
    work = session(deidentifier=deidentifier, pseudonyms=pseudonyms)
    answer = work.apply(source)
    entry = twin_entry(
        policy=deidentifier.policy, software="0", twin="t", document=b"{}", counts=work.counts,
        refusals=work.refusals, gate={}, at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    if not isinstance(answer, Refused):
        document = json.dumps(answer).encode()
        allowed = {*pseudonyms.as_dict().values(), *UNITS}
        allowed |= {
            f"{key.partition('/')[0]}/{value}" for key, value in pseudonyms.as_dict().items()
        }
        result = check(document, collect_identifiers([source]), allowed)
        assert not [hit for hit in result.hits if hit.rule.startswith(("name", "identifier"))]
    return f"{answer!r} {canonical(entry).decode()} {work.labels!r}"


@given(st.integers(0, 10**9))
@settings(max_examples=examples(160))
def test_no_marker_comes_out(seed: int) -> None:
    for deidentifier in (SAFE_HARBOR, MINUTES):
        out = run(seed, deidentifier)
        assert not [leak for leak in LEAKS if leak in out]


def test_the_generator_plants_in_every_element_of_every_type() -> None:
    seen: dict[str, set[str]] = {name: set() for name in SCOPE}
    for seed in range(320):
        source = Generator(seed).resource(SCOPE[seed % len(SCOPE)])
        seen[source["resourceType"]] |= source.keys()
    for name in SCOPE:
        assert set(elements_of(name)) - {"modifierExtension", "implicitRules"} <= seen[name]


def test_enough_resources_are_not_refused() -> None:
    answers = [
        session().apply(Generator(seed).resource(SCOPE[seed % len(SCOPE)])) for seed in range(320)
    ]
    kept = [answer for answer in answers if isinstance(answer, dict)]
    assert len(kept) > 100
    assert {record["resourceType"] for record in kept} == set(SCOPE)


def test_the_same_vault_and_the_same_input_give_the_same_output() -> None:
    sources = [Generator(seed).resource(SCOPE[seed % len(SCOPE)]) for seed in range(64)]
    ids = Pseudonyms()
    first = session(pseudonyms=ids)
    one = [first.apply(source) for source in sources]
    again = session(pseudonyms=Pseudonyms(ids.as_dict()))
    assert [again.apply(source) for source in sources] == one
    assert again.counts == first.counts
    assert again.refusals == first.refusals
    other = session()
    texts = json.dumps([other.apply(s) for s in sources], default=repr)
    assert not [p for p in ids.as_dict().values() if p in texts]  # another project: unlinkable


def test_the_source_is_not_changed_and_shares_nothing_with_the_record() -> None:
    source = Generator(5).resource("Observation")
    before = json.dumps(source)
    record = session().apply(source)
    assert json.dumps(source) == before
    assert record is not source


def test_threads_share_a_deidentifier_but_no_epoch_and_no_pseudonym() -> None:
    """Eight threads with their own patients: offsets fit their own epoch, ids are never shared."""
    deidentifier = Deidentifier(load_policy("safe-harbor"), GUARDS)
    start, faults, all_ids = threading.Barrier(8), [], []

    def work(thread: int) -> None:
        rng = Random(thread)
        start.wait()
        for patient in range(25):
            epoch, ids = draw_epoch(date(2020, 1, 1), rng), Pseudonyms()
            run_ = session({"id": "same"}, deidentifier=deidentifier, epoch=epoch, pseudonyms=ids)
            for number in range(40):
                day = date(2019, 1, 1 + number % 28)
                record = run_.apply(
                    {"resourceType": "Observation", "id": f"o{number}", "status": "final",
                     "subject": {"reference": "Patient/same"}, "effectiveDateTime": str(day)}
                )  # fmt: skip
                if record["effectiveDateTime"] != [(day - epoch.date()).days, "day"]:
                    faults.append((thread, patient))
            if run_.counts[("Observation", "status", "code")] != 40:
                faults.append((thread, patient))
            all_ids.append(set(ids.as_dict().values()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(all_ids) == 200
    assert len(set.union(*all_ids)) == sum(len(ids) for ids in all_ids)
