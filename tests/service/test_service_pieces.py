"""The rules inside the pipeline that a whole run shows only now and then."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.databases import Clock
from support.depth import examples

from privacy.deidentify import Refused
from service.auth import Principal, Role
from service.auth.principals import Kind
from service.fhir.outbox import OutboxItem, OutboxState
from service.fhir.record import PatientRecord
from service.fhir.together import side_by_side
from service.pipeline.asof import last_record
from service.pipeline.held import HeldOutbox
from service.pipeline.meanwhile import meanwhile
from service.pipeline.origin import IDENTIFIER_SYSTEM, is_own, without_own
from service.pipeline.refusals import Refusals
from service.pipeline.runtime import open_runtime
from service.pipeline.search import Collecting, searched
from service.pipeline.service import Service
from service.pipeline.sweeper import Sweeper
from service.sandbox.personas.hostile import Hostile
from service.sandbox.testing import population, running_sandbox
from service.stores import Database
from service.stores.outbox import SqlOutboxStore
from service.web.ports import Failure, RunRequest, RunState, ServiceError

TODAY = date(2026, 6, 15)
CALLER = Principal(Role.EHR, frozenset(), "test", Kind.API_KEY)


# -- the day ------------------------------------------------------------------------------------


def reading(day: str) -> dict[str, Any]:
    return {"resourceType": "Observation", "effectiveDateTime": day}


@pytest.mark.parametrize(
    ("days", "newest"),
    [
        (["2020-01-02", "2024-03-05T10:00:00Z"], date(2024, 3, 5)),
        (["2020-01-02", "2031-01-01"], date(2020, 1, 2)),  # the future did not happen yet
        (["2020-01-02", "2024"], date(2020, 1, 2)),  # a full date says more than a year
        (["2019", "2020-02"], date(2020, 2, 29)),
        (["2026"], TODAY),
        (["2020-13", "0000", "soon", ""], TODAY),
        ([], TODAY),
    ],
)
def test_a_file_describes_the_day_of_its_newest_record(days: list[str], newest: date) -> None:
    assert last_record(map(reading, days), TODAY) == newest


def test_nothing_is_newer_than_death() -> None:
    died = {"resourceType": "Patient", "deceasedDateTime": "2021-05-06"}
    assert last_record([reading("2024-01-01"), died], TODAY) == date(2021, 5, 6)


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.dates().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@settings(max_examples=examples(50))
@given(st.lists(anything, max_size=4))
def test_no_shape_of_a_date_breaks_it(values: list[Any]) -> None:
    resources = [{"resourceType": "Observation", "effectiveDateTime": v} for v in values]
    resources += [{"resourceType": "Encounter", "period": v} for v in values]
    assert last_record(resources, TODAY) <= TODAY


# -- our own results ----------------------------------------------------------------------------


def test_what_we_wrote_is_not_read() -> None:
    ours = {"resourceType": "Observation", "identifier": [{"system": IDENTIFIER_SYSTEM}]}
    theirs = {"resourceType": "Observation", "identifier": [{"system": "urn:other"}, 7]}
    record = PatientRecord("p", "b", [ours, theirs, {"identifier": {}}], {})
    assert [is_own(r) for r in record.resources] == [True, False, False]
    assert without_own(record).resources == record.resources[1:]


# -- what the de-identifier refused --------------------------------------------------------------


def slices(**verdicts: str) -> dict[str, Any]:
    return {"slices": [{"type": t, "verdict": v, "dropped": {}} for t, v in verdicts.items()]}


@pytest.mark.parametrize(
    ("refused", "word"),
    [
        (
            Refused("Observation", "refused-element", "Observation.modifierExtension"),
            "modifier-extension",
        ),
        (
            Refused("Observation", "refused-element", "Observation.component.modifierExtension"),
            "modifier-extension",
        ),
        (Refused("Observation", "refused-element", "Observation.implicitRules"), "implicit-rules"),
        (Refused("Observation", "another-patient", "Observation.subject"), "foreign-subject"),
        (Refused("Observation", "unknown-subject", "Observation.subject"), "subject-unproven"),
        (Refused("Observation", "no-type"), "unreadable"),
    ],
)
def test_what_is_refused_is_counted_and_its_slice_not_complete(refused: Refused, word: str) -> None:
    refusals = Refusals()
    assert list(refusals.without([refused, {"id": "kept"}, refused])) == [{"id": "kept"}]
    observation, condition = refusals.told_in(slices(Observation="complete", Condition="complete"))[
        "slices"
    ]
    assert observation == {
        "type": "Observation",
        "verdict": "partial",
        "dropped": {word: 2},
        "reason": word,
    }
    assert condition["verdict"] == "complete"


def test_a_slice_that_fell_short_already_keeps_its_reason() -> None:
    refusals = Refusals()
    list(refusals.without([Refused("Observation", "refused-element", "Observation.implicitRules")]))
    before = {
        "type": "Observation",
        "verdict": "partial",
        "reason": "forbidden",
        "dropped": {"no-id": 1},
    }
    (after,) = refusals.told_in({"slices": [before]})["slices"]
    assert after == before | {"dropped": {"implicit-rules": 1, "no-id": 1}}


def test_types_nobody_reads_are_no_shortfall() -> None:
    refusals = Refusals()
    list(refusals.without([Refused("Immunization", "type-out-of-scope")]))
    whole = slices(Immunization="complete")
    assert refusals.told_in(whole) == whole


# -- the gate, some resources at a time ----------------------------------------------------------


def test_the_gate_sees_every_part_of_a_long_record() -> None:
    people = [{"resourceType": "Patient", "name": [{"family": name}]} for name in ("Roe", "Åström")]
    filling = [reading("2020-01-01")] * 5
    payload = b'{"a":"astrom","b":"fine"}'
    for resources in ([people[1], *filling], [*filling, *people], [people[0], *filling, people[1]]):
        result = searched(payload, resources, frozenset({"fine"}), at_once=2)
        assert [(hit.path, hit.rule) for hit in result.hits] == [("a", "name")]
    assert searched(b'{"b":"fine"}', [*people, *filling], frozenset({"fine"}), at_once=2).passed


def test_what_images_say_is_searched_for_whether_or_not_the_rest_was_collected_before() -> None:
    series = {"2.999.77": [{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Zofie"}]}}]}
    collecting = Collecting()
    collecting.add([reading("2020-01-01")])
    for collected in (None, collecting.values):
        result = searched(
            b'{"a":"zofie"}',
            [reading("2020-01-01")],
            frozenset(),
            series=series,
            collected=collected,
        )
        assert [(hit.path, hit.rule) for hit in result.hits] == [("a", "name")]


# -- the outbox in hand -------------------------------------------------------------------------


def test_a_living_sender_keeps_its_item_and_a_dead_one_loses_it(database: Database) -> None:
    store = SqlOutboxStore(database)
    store.enqueue("k", b"x")
    with HeldOutbox(store, 1) as held:
        (item,) = held.claim(key="k")
        Event().wait(2)
        assert store.claim(key="k") == []
    Event().wait(1.1)
    (again,) = store.claim(key="k")
    assert again.attempt == item.attempt + 1


def test_an_ended_item_is_no_longer_held(database: Database, clock: Clock) -> None:
    store = SqlOutboxStore(database, clock)
    store.enqueue("k", b"x")
    with HeldOutbox(store, 60) as held:
        (item,) = held.claim(key="k")
        assert held.mark("k", item.attempt, OutboxState.PENDING, "not-sent")
        assert len(store.claim(key="k")) == 1


def test_that_an_item_was_read_back_is_written_with_the_next_or_at_the_end(
    database: Database, clock: Clock
) -> None:
    store = SqlOutboxStore(database, clock)

    def states() -> list[OutboxState]:
        return [item.state for item in map(store.get, "ab") if item is not None]

    with HeldOutbox(store, 60) as held:
        for key in "ab":
            (item,) = held.take(key, b"x")
            assert held.mark(key, item.attempt, OutboxState.CONFIRMED)
            assert states() == [OutboxState.CONFIRMED, OutboxState.SENDING][key == "a" :]
    assert states() == [OutboxState.CONFIRMED] * 2


def test_that_an_item_was_read_back_may_be_written_by_whoever_ends_the_run(
    database: Database, clock: Clock
) -> None:
    """Who dies before that leaves it as one that was sent, and is looked for."""
    store = SqlOutboxStore(database, clock)
    with HeldOutbox(store, 60) as held:
        (item,) = held.take("k", b"x")
        assert held.mark("k", item.attempt, OutboxState.CONFIRMED)
        note = held.noted_elsewhere()
    assert (found := store.get("k")) is not None
    assert found.state is OutboxState.SENDING
    with database.write():
        note()
    assert (found := store.get("k")) is not None
    assert found.state is OutboxState.CONFIRMED


def test_several_items_are_taken_together_and_each_but_once(
    database: Database, clock: Clock
) -> None:
    store = SqlOutboxStore(database, clock)
    assert len(store.take("b", b"x")) == 1
    with HeldOutbox(store, 60) as held:
        taken = held.take_all({"c": b"x", "b": b"y", "a": b"z"})
        assert sorted(taken) == ["a", "c"]
        assert [store.claim(key=key) for key in "abc"] == [[], [], []]

        def end(item: OutboxItem) -> bool:
            return held.mark(item.key, item.attempt, OutboxState.CONFIRMED)

        assert side_by_side([partial(end, item) for item in taken.values()], 2) == [True, True]
    found = [item for item in map(store.get, "abc") if item is not None]
    assert [item.state for item in found] == ["confirmed", "sending", "confirmed"]


def test_of_works_side_by_side_all_come_to_their_end_before_an_error_is_raised() -> None:
    done = []

    def fails() -> None:
        raise OSError

    with pytest.raises(OSError):
        side_by_side([fails, lambda: done.append("second")], 2)
    assert done == ["second"]


def test_what_is_done_meanwhile_is_done_at_the_end_of_the_block_in_any_case() -> None:
    done, go = [], Event()
    with meanwhile(lambda: done.append(go.wait(30))) as begin:
        begin()
        assert done == []  # beside: this block has not ended
        go.set()
    assert done == [True]
    with meanwhile(lambda: done.append(False)):
        assert done == [True]
    assert done == [True, False]


@pytest.mark.parametrize("is_begun", [True, False])
def test_an_error_of_what_was_done_meanwhile_is_not_lost(is_begun: bool) -> None:
    def fail() -> None:
        raise OSError

    def block() -> None:
        with meanwhile(fail) as begin:
            if is_begun:
                begin()

    with pytest.raises(OSError):
        block()


def test_a_block_that_fails_leaves_what_was_not_begun() -> None:
    done: list[int] = []

    def block() -> None:
        with meanwhile(lambda: done.append(1)):
            raise OSError

    with pytest.raises(OSError):
        block()
    assert done == []


def test_a_sweep_that_fails_is_followed_by_the_next() -> None:
    """The log says the type of the error and not what it quotes."""
    swept = []
    done = Event()

    def sweep() -> int:
        swept.append(1)
        if len(swept) < 3:
            raise RuntimeError
        done.set()
        return 0

    sweeper = Sweeper(sweep, 0.01)
    sweeper.start()
    assert done.wait(120)
    sweeper.stop()


# -- the service behind the web -----------------------------------------------------------------


def test_a_run_longer_than_a_call_is_returned_as_it_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker here: the run stays in the queue."""
    monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", "http://127.0.0.1:1/fhir")
    monkeypatch.setenv("TWINPORT_LIMITS__RUN_SECONDS", "1")
    service = Service(open_runtime())
    assert not service.start(RunRequest("ehr", "demo-008"), CALLER).ended
    with pytest.raises(ServiceError) as still:
        service.assess(RunRequest("ehr", "demo-008"), CALLER)
    assert still.value.failure is Failure.STILL_RUNNING
    assert still.value.run_id is not None
    service.runtime.close()


def came_true(what: Callable[[], bool]) -> None:
    assert any(what() or Event().wait(0.02) for _ in range(3000))


def test_a_run_is_cancelled_while_its_server_keeps_it_waiting(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that drips for ever would last as long as the budget: fifteen minutes."""
    patient = next(one for one in population() if one.id == "demo-008")
    with running_sandbox([patient], persona=Hostile("slow-loris")) as sandbox:
        monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", sandbox.base_url)
        service = Service(open_runtime())
        service.start_workers()
        try:
            run_id = service.enqueue(RunRequest("ehr", patient.id), CALLER)
            came_true(lambda: any(one.kind == "Observation" for one in sandbox.requests))
            service.cancel(run_id)
            came_true(lambda: service.run(run_id).ended)
            assert service.run(run_id).state is RunState.CANCELLED
        finally:
            service.stop_workers()
            service.runtime.close()


@pytest.mark.parametrize(
    ("request_", "failure"),
    [
        (RunRequest("nope", "1"), Failure.UNKNOWN_SERVER),
        (RunRequest("ehr", "1", models=("nope",)), Failure.UNKNOWN_MODEL),
        (RunRequest("ehr", "1", policy="nope"), Failure.UNKNOWN_POLICY),
        (RunRequest("read-only", "1", write_back=True), Failure.WRITE_BACK_OFF),
    ],
)
def test_what_is_wrong_with_a_request_is_said_at_once(
    home: Path, request_: RunRequest, failure: Failure
) -> None:
    (home / "twinport.toml").write_text(
        '[servers.ehr]\nbase_url = "https://ehr.example.org"\n'
        '[servers.read-only]\nbase_url = "https://ehr.example.org"\nwrite_back = false\n'
    )
    service = Service(open_runtime())
    with pytest.raises(ServiceError) as refused:
        service.enqueue(request_, CALLER)
    assert refused.value.failure is failure
    assert service.runs() == []
    service.runtime.close()


def test_nobody_knows_a_twin_that_was_never_made(home: Path) -> None:
    service = Service(open_runtime())
    for ask in (service.twin, service.versions, service.document, service.ledger):
        with pytest.raises(ServiceError) as missing:
            ask("AAAAAAAAAAAAAAAAAAAAAA")
        assert missing.value.failure is Failure.NOT_FOUND
    service.runtime.close()
