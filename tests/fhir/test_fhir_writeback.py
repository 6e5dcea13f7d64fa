"""Write-back: exactly one of each on the server, whatever happens in between."""

import itertools
import random
import threading
from dataclasses import replace
from typing import Any

import pytest
from fhir_outbox import MemoryOutbox
from fhir_servers import QUICK, SmallFhirServer, client_for

from service.fhir.capability import Capability, read_capability
from service.fhir.errors import SetupError
from service.fhir.outbox import Note, OutboxState
from service.fhir.servers import Limits
from service.fhir.wanted import wanted_from
from service.fhir.writeback import (
    LEASE_SECONDS,
    Taken,
    WriteResult,
    look_together,
    resume,
    write_back,
)

Resource = dict[str, Any]
DEVICE = "5b1d1f4e-0000-4000-8000-000000000001"
RISK = "5b1d1f4e-0000-4000-8000-000000000002"
ORIGIN = "5b1d1f4e-0000-4000-8000-000000000003"
# Short enough that a stalled answer ends soon.
IMPATIENT = replace(QUICK, read_seconds=0.2, tries=2)


def seal(data: bytes) -> bytes:
    return data[::-1]


def result_set(run: str = "r-1") -> list[Resource]:
    """Provenance first on purpose: the order of writing is not the caller's business."""
    return [
        {
            "resourceType": "Provenance",
            "id": ORIGIN,
            "target": [{"reference": f"urn:uuid:{RISK}"}],
            "recorded": "2026-06-02T08:00:00Z",
            "activity": {"coding": [{"code": "CREATE"}]},
            "agent": [{"who": {"reference": f"urn:uuid:{DEVICE}"}}],
        },
        {
            "resourceType": "RiskAssessment",
            "id": RISK,
            "identifier": [{"system": "urn:run", "value": run}],
            "status": "preliminary",
            "subject": {"reference": "Patient/p1"},
            "performer": {"reference": f"urn:uuid:{DEVICE}"},
        },
        {
            "resourceType": "Device",
            "id": DEVICE,
            "identifier": [{"system": "urn:software", "value": "0.1.0"}],
            "status": "active",
        },
    ]


CREATE = frozenset({"create"})
NOTE = Note("twin", "prevent:risk-assessment:first-choice")


def write(
    server: SmallFhirServer,
    outbox: MemoryOutbox,
    *,
    run: str = "r-1",
    limits: Limits = QUICK,
) -> WriteResult:
    with client_for(server.base, limits=limits) as client:
        resources, key = result_set(run), f"key-{run}"
        return write_back(client, resources, outbox, key, seal, note=NOTE)


def exactly_one_each(server: SmallFhirServer) -> None:
    for kind in ("Device", "RiskAssessment", "Provenance"):
        assert len(server.alive(kind)) == 1, kind
    device, risk = server.alive("Device")[0], server.alive("RiskAssessment")[0]
    origin = server.alive("Provenance")[0]
    assert risk["performer"] == {"reference": f"Device/{device['id']}"}
    assert origin["target"] == [{"reference": f"RiskAssessment/{risk['id']}"}]
    assert origin["agent"] == [{"who": {"reference": f"Device/{device['id']}"}}]


def way(server: SmallFhirServer, name: str) -> None:
    """One of the ways in which servers let us create."""
    server.transaction = name == "transaction"
    server.conditional_create = name in ("transaction", "conditional-create")
    server.update_create = name == "own-id"
    server.conditional_update = name == "conditional-update"


WAYS = ["transaction", "conditional-create", "own-id", "conditional-update", "search-then-create"]


@pytest.mark.parametrize("name", WAYS)
def test_written_once_and_found_the_second_time(store: SmallFhirServer, name: str) -> None:
    way(store, name)
    first = write(store, MemoryOutbox())
    assert (first.state, first.verified, first.rung) == ("confirmed", True, "RiskAssessment")
    assert first.strategy == name
    assert [ref.split("/")[0] for ref in first.written] == [
        "Device",
        "RiskAssessment",
        "Provenance",
    ]
    exactly_one_each(store)
    writes = len(store.writes)
    again = write(store, MemoryOutbox())  # another installation, without memory of the first
    assert (again.written, sorted(again.existing)) == ([], sorted(first.written))
    assert again.verified
    assert len(store.writes) == writes
    exactly_one_each(store)


@pytest.mark.parametrize("name", WAYS)
def test_several_results_with_a_provenance_each(store: SmallFhirServer, name: str) -> None:
    """Two sets sent as one: each Provenance is looked for where it belongs."""
    way(store, name)
    other = "5b1d1f4e-0000-4000-8000-000000000004"
    origin, risk, device = result_set()
    second = result_set("r|2,&x")
    second[0] |= {"id": other.replace("4", "5"), "target": [{"reference": f"urn:uuid:{other}"}]}
    second[1] |= {"id": other}
    for _ in range(2):
        with client_for(store.base) as client:
            both = [origin, risk, device, *second[:2]]
            result = write_back(client, both, MemoryOutbox(), "k", seal)
        assert result.verified
    risks = {f"RiskAssessment/{r['id']}" for r in store.alive("RiskAssessment")}
    targets = [r["target"][0]["reference"] for r in store.alive("Provenance")]
    assert len(risks) == 2
    assert sorted(targets) == sorted(risks)


def test_a_second_result_shares_the_device(store: SmallFhirServer) -> None:
    write(store, MemoryOutbox())
    second = write(store, MemoryOutbox(), run="r-2")
    assert [len(store.all(k)) for k in ("Device", "RiskAssessment", "Provenance")] == [1, 2, 2]
    assert [ref.split("/")[0] for ref in second.existing] == ["Device"]


FAULTS = ["before", "after", "stall-before", "stall-after", 500, 503, 408, 429, 409]


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_break_leaves_one_of_each(store: SmallFhirServer, name: str, fault: str | int) -> None:
    way(store, name)
    store.faults = [fault]
    result = write(store, MemoryOutbox(), limits=IMPATIENT)
    assert (result.state, result.verified) == ("confirmed", True)
    exactly_one_each(store)


@pytest.mark.parametrize("name", WAYS)
def test_storms_of_breaks_leave_one_of_each_after_recovery(
    store: SmallFhirServer, name: str
) -> None:
    """Random schedules; what a run leaves behind the next one finishes."""
    way(store, name)
    dice = random.Random(f"storm {name}")
    for number in range(6):
        outbox = MemoryOutbox()
        store.resources.clear()
        store.faults = [dice.choice(["before", "after", 500]) for _ in range(dice.randrange(8))]
        for _ in range(6):
            result = write(store, outbox, run=f"s-{number}", limits=IMPATIENT)
            if result.state is OutboxState.CONFIRMED:
                break
            outbox.pass_time(LEASE_SECONDS)
        assert result.state is OutboxState.CONFIRMED
        exactly_one_each(store)


@pytest.mark.parametrize("name", WAYS)
def test_two_processes_with_one_outbox_write_once(store: SmallFhirServer, name: str) -> None:
    way(store, name)
    outbox = MemoryOutbox()
    results: list[WriteResult] = []
    threads = [
        threading.Thread(target=lambda: results.append(write(store, outbox))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exactly_one_each(store)
    assert sum(bool(r.written) for r in results) == 1


def test_a_race_that_the_server_loses_is_cleaned_up(store: SmallFhirServer) -> None:
    """Conditional create that races, two installations: the oldest stays, the rest is withdrawn."""
    write(store, MemoryOutbox())
    oldest = store.alive("RiskAssessment")[0]["id"]
    twin = {**store.alive("RiskAssessment")[0]}
    del twin["id"]
    store.put(twin)
    result = write(store, MemoryOutbox())
    assert [r["id"] for r in store.alive("RiskAssessment")] == [oldest]
    assert len(result.retired) == 1
    assert result.verified


def test_what_a_person_accepted_stays_even_if_younger(store: SmallFhirServer) -> None:
    write(store, MemoryOutbox())
    accepted = {**store.alive("RiskAssessment")[0], "status": "final"}
    del accepted["id"]
    accepted = store.put(accepted)
    write(store, MemoryOutbox())
    assert [r["id"] for r in store.alive("RiskAssessment")] == [accepted["id"]]
    other = {**accepted}
    del other["id"]
    store.put(other)
    result = write(store, MemoryOutbox())
    assert (result.duplicates_left, result.detail) == (1, "duplicates-left")
    assert len(store.alive("RiskAssessment")) == 2


def test_what_was_removed_on_the_server_stays_removed(store: SmallFhirServer) -> None:
    outbox = MemoryOutbox()
    write(store, outbox)
    store.resources = {k: r for k, r in store.resources.items() if k[0] == "Device"}
    result = write(store, outbox)
    assert result.detail == "removed-on-server"
    assert store.all("RiskAssessment") == []


def test_a_server_that_cannot_be_searched_is_never_sent_the_same_twice(
    store: SmallFhirServer,
) -> None:
    way(store, "search-then-create")
    store.search_by_identifier = False
    store.faults = ["after"]
    outbox = MemoryOutbox()
    first = write(store, outbox)
    assert (first.state, first.detail) == ("sent", "outcome-unknown")
    writes = len(store.writes)
    outbox.pass_time(LEASE_SECONDS)
    second = write(store, outbox)
    assert (second.state, second.verified) == ("sent", False)
    assert len(store.writes) == writes


def test_half_a_set_on_a_server_that_cannot_be_searched_is_not_begun_again(
    store: SmallFhirServer,
) -> None:
    """The Device arrived, then the server asked us to go away: what was written is not repeated."""
    way(store, "search-then-create")
    store.search_by_identifier = False
    store.faults = ["none", 429, 429, 429]
    outbox = MemoryOutbox()
    assert write(store, outbox).state == "sent"
    outbox.pass_time(LEASE_SECONDS)
    assert write(store, outbox).detail == "outcome-unknown"
    assert len(store.all("Device")) == 1


def test_a_budget_spent_while_waiting_leaves_the_outcome_open(store: SmallFhirServer) -> None:
    store.faults = ["after", "stall-before"]
    store.races = True
    outbox = MemoryOutbox()
    hurried = replace(QUICK, read_seconds=5, budget_seconds=0.5, first_pause_seconds=2)
    result = write(store, outbox, limits=hurried)
    assert (result.state, result.detail) == ("pending", "outcome-unknown")
    store.faults = []
    assert write(store, outbox).verified
    exactly_one_each(store)


@pytest.mark.parametrize("name", WAYS)
def test_companions_that_are_refused_do_not_stop_the_result(
    store: SmallFhirServer, name: str
) -> None:
    way(store, name)
    store.not_creatable = {"Provenance", "Device"}
    result = write(store, MemoryOutbox())
    assert result.state == "confirmed"
    assert result.skipped == {"Provenance": "not-supported", "Device": "not-supported"}
    performer = store.alive("RiskAssessment")[0]["performer"]
    assert performer == {
        "type": "Device",
        "identifier": {"system": "urn:software", "value": "0.1.0"},
    }


def test_a_server_that_does_not_take_the_result_fails_with_the_reason(
    store: SmallFhirServer,
) -> None:
    store.not_creatable = {"RiskAssessment"}
    outbox = MemoryOutbox()
    result = write(store, outbox)
    assert (result.state, result.detail) == ("failed", "not-supported")
    assert "POST RiskAssessment" in result.next_step
    store.not_creatable = set()
    assert write(store, outbox).state == "confirmed"  # failed is opened again
    exactly_one_each(store)


@pytest.mark.parametrize(("status", "code"), [(400, "invalid"), (422, "unprocessable")])
def test_content_that_is_refused_is_not_tried_for_ever(
    store: SmallFhirServer, status: int, code: str
) -> None:
    way(store, "conditional-create")
    store.faults = [status, status, status]
    result = write(store, MemoryOutbox())
    assert (result.state, result.detail) == ("failed", code)


def test_an_unreachable_server_leaves_the_item_pending() -> None:
    outbox = MemoryOutbox()
    with client_for("http://127.0.0.1:9", limits=IMPATIENT) as client:
        result = write_back(client, result_set(), outbox, "key-r-1", seal, capability=Capability())
    assert (result.state, result.detail) == ("pending", "not-sent")


def test_resume_finishes_what_a_dead_process_left(store: SmallFhirServer) -> None:
    """Killed at each step: pending, sending with nothing done, sending with everything done."""
    for step in ("pending", "claimed", "written"):
        store.resources.clear()
        outbox = MemoryOutbox()
        lived = MemoryOutbox()
        if step == "written":
            write(store, MemoryOutbox())
        write(store, lived)
        payload = lived.get("key-r-1")
        assert payload is not None
        if step != "written":
            store.resources.clear()
        outbox.enqueue("key-r-1", payload.payload)
        if step != "pending":
            outbox.claim(key="key-r-1", lease_seconds=LEASE_SECONDS)
            assert resume(outbox, lambda _: client_for(store.base), seal, seal) == []
            outbox.pass_time(LEASE_SECONDS)
        (result,) = resume(outbox, lambda _: client_for(store.base), seal, seal)
        assert (result.state, result.verified) == ("confirmed", True)
        assert outbox.notes == [NOTE]  # the audit learns of it, whoever finished it
        exactly_one_each(store)


def test_the_outbox_sees_sealed_bytes_and_closed_codes_only(store: SmallFhirServer) -> None:
    outbox = MemoryOutbox()
    write(store, outbox)
    item = outbox.get("key-r-1")
    assert item is not None
    assert item.result is not None
    assert b"Patient/p1" not in item.payload
    assert b"RiskAssessment" not in item.result
    assert b"Patient/p1" in seal(item.payload)
    assert {state for state, _ in outbox.history} <= set(OutboxState)


def test_refuses_what_could_not_be_written_once(store: SmallFhirServer) -> None:
    nameless = [{"resourceType": "RiskAssessment", "id": RISK, "status": "preliminary"}]
    with client_for(store.base) as client, pytest.raises(SetupError, match="identifier"):
        write_back(client, nameless, MemoryOutbox(), "k", seal)
    with (
        client_for(store.base, write_back=False) as client,
        pytest.raises(SetupError, match="write_back = true"),
    ):
        write_back(client, result_set(), MemoryOutbox(), "k", seal)


def test_more_entries_than_a_conditional_transaction_may_hold_go_singly(
    store: SmallFhirServer,
) -> None:
    numbers = itertools.count(10)

    def one(run: str) -> Resource:
        risk = dict(result_set(run)[1])
        return risk | {"id": f"5b1d1f4e-0000-4000-8000-0000000000{next(numbers)}"}

    many = [one(f"m-{n}") for n in range(9)]
    with client_for(store.base) as client:
        result = write_back(client, many, MemoryOutbox(), "k", seal)
    assert (result.strategy, len(result.written)) == ("conditional-create", 9)


# -- several at once ------------------------------------------------------------------------------


def test_what_was_seen_at_first_is_not_trusted_when_it_is_created(
    store: SmallFhirServer,
) -> None:
    """Somebody else was quicker after the look: the condition of the create finds theirs."""
    outbox = MemoryOutbox()
    with client_for(store.base) as client:
        able = read_capability(client)
        seen = look_together(client, able, [result_set()])
        assert seen is not None
        assert seen.take(wanted_from(result_set())[0]) == []
        write(store, MemoryOutbox())
        (item,) = outbox.take("key-r-1", b"")
        told = {"capability": able, "note": NOTE, "taken": Taken(item, seen)}
        result = write_back(client, result_set(), outbox, "key-r-1", seal, **told)
    assert result.verified
    exactly_one_each(store)


def test_who_shares_a_companion_or_cannot_be_found_goes_alone(
    store: SmallFhirServer,
) -> None:
    with client_for(store.base) as client:
        able = read_capability(client)
        assert look_together(client, able, [result_set("r-1"), result_set("r-2")]) is None
        listed = {name: replace(row, interactions=CREATE) for name, row in able.types.items()}
        blind = replace(able, types=listed)
        assert look_together(client, blind, [result_set()]) is None


def test_what_was_asked_before_is_not_asked_again(store: SmallFhirServer) -> None:
    with client_for(store.base) as client:
        able = read_capability(client)
        devices = [one for one in result_set() if one["resourceType"] == "Device"]
        before = look_together(client, able, [devices])
        seen = look_together(client, able, [result_set()], before)
        assert seen is not None
        named = [one for one in wanted_from(result_set()) if one.identifier]
        assert [seen.take(wanted) for wanted in named] == [[], []]
    assert sorted(store.searched) == ["Device", "RiskAssessment"]


def test_a_look_that_nobody_answers_is_still_to_come() -> None:
    with SmallFhirServer() as server, client_for(server.base) as client:
        able = read_capability(client)
    with client_for(server.base) as client:
        seen = look_together(client, able, [result_set()])
        assert seen is not None
        assert [seen.take(wanted) for wanted in wanted_from(result_set())] == [None] * 3
