"""A watched patient is looked at by time: what has changed is pulled, what no longer holds is
marked, and two processes never both look."""

import copy
import hashlib
import hmac
from datetime import timedelta
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from sqlalchemy import update
from watch_scene import Open, Scene, receiving

from service.pipeline.service import Service
from service.sandbox.errors import FhirError
from service.stores.database import utc_now
from service.stores.tables import RunRow, TwinRow
from service.stores.watches import NoticeStore
from service.watch.watching import UnknownWatchError, Watching
from service.web.ports import FhirQuery, OwnResource

pytestmark = pytest.mark.slow


@pytest.fixture
def watched(open_scene: Open) -> Scene:
    opened: Scene = open_scene()
    opened.add()
    return opened


def test_a_correction_and_a_withdrawal_reach_the_chart(watched: Scene) -> None:
    """The same as by a run on demand, and each look asks only for what has changed."""
    assert watched.look() == (1, 0)
    assert (watched.statuses(), watched.rests()) == (["preliminary", "preliminary"], None)
    assert watched.look_now() == (1, 0)
    assert watched.statuses() == ["preliminary", "preliminary"]

    creatinine = watched.newest()
    quantity = creatinine["valueQuantity"]
    watched.change(creatinine, valueQuantity={**quantity, "value": quantity["value"] * 1.5})
    watched.look_now()
    assert watched.rests() == "changes-counted"
    superseded = ["preliminary", "preliminary", *["preliminary superseded"] * 2]
    assert watched.statuses() == superseded

    watched.change(watched.newest(), status="entered-in-error")
    watched.look_now()
    gone = [said for said in watched.statuses() if said.startswith("entered-in-error")]
    assert sorted(gone) == [
        *["entered-in-error superseded withdrawn"] * 2, *["entered-in-error withdrawn"] * 2
    ]  # fmt: skip
    told = [event for event in watched.audited() if event.startswith("result-")]
    assert len(told) == 6

    held = watched.statuses()
    watched.delete(watched.newest())
    watched.look_now()
    assert watched.rests() is None  # the count did not agree: everything was pulled
    assert watched.statuses().count("entered-in-error withdrawn") > held.count(
        "entered-in-error withdrawn"
    )


def test_a_final_result_whose_input_is_withdrawn_is_told_until_it_is_dealt_with(
    open_scene: Open,
) -> None:
    with receiving() as (url, taken):
        more = {"TWINPORT_WATCH__TELL_URL": url, "TWINPORT_WATCH__TELL_SECRET": "shared secret"}
        scene = open_scene(more=more)
        scene.add()
        scene.look()
        (risk,) = scene.ours("RiskAssessment")
        scene.change(risk, status="final")
        scene.change(scene.newest(), status="entered-in-error")
        scene.look_now()
        assert scene.ours("RiskAssessment")[0]["status"] == "final"
        assert "result-accepted-needs-review prevent:input-withdrawn" in scene.audited()
        told = {(one["model"], one["cause"], one["done"]) for one, _ in taken}
        assert told == {
            ("prevent", "input-withdrawn", "accepted-needs-review"),
            ("ckd-epi-2021", "input-withdrawn", "withdrawn"),
        }
        for content, (body, signature) in taken:
            digest = hmac.new(b"shared secret", body, hashlib.sha256).hexdigest()
            assert signature == f"sha256={digest}"
            assert set(content) == {"id", "event", "twin", "model", "cause", "done"}
        scene.look_now()
        assert len(taken) == 2  # once, and the run goes on saying it


def test_a_notice_nobody_takes_waits(open_scene: Open) -> None:
    scene = open_scene(more={"TWINPORT_WATCH__TELL_URL": "http://127.0.0.1:9/"})
    store = NoticeStore(scene.service.runtime.database)
    store.add({"event": "result-withdrawn"})
    assert scene.watching.tell() == 0
    assert store.waiting() == 1
    assert scene.watching.tell() == 0  # not before its pause is over


# -- when --------------------------------------------------------------------------------------


def test_it_is_due_once_for_one_process_and_then_after_the_pause(watched: Scene) -> None:
    other = Watching(watched.service.runtime)
    queued: list[Any] = []

    def enqueue(request: Any, server: str) -> str:
        queued.append(request)
        return "run"

    assert (watched.watching.take_due(enqueue), other.take_due(enqueue)) == (["run"], [])
    minutes = (watched.row().due - utc_now()) / timedelta(minutes=1)
    assert 13 <= minutes <= 17
    assert queued[0]["watch"] == watched.watch


def test_a_claim_that_cannot_be_queued_is_none(watched: Scene) -> None:
    def breaks(*_: Any) -> str:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        watched.watching.take_due(breaks)
    assert watched.is_due()


def test_failures_double_the_pause_and_success_ends_it(watched: Scene) -> None:
    persona = watched.sandbox.inside.persona

    def refuse(kind: str, letter: str) -> None:
        raise FhirError(403, "forbidden", "no")

    persona.allow = refuse  # type: ignore[method-assign]
    pauses = []
    for _ in range(2):
        assert watched.look_now() == (0, 1)
        pauses.append((watched.row().due - utc_now()) / timedelta(minutes=15))
    assert [round(pause) for pause in pauses] == [2, 4]
    assert (watched.row().failures, watched.row().outcome) == (2, "upstream-refused")
    del persona.allow
    assert watched.look_now() == (1, 0)
    assert (watched.row().failures, watched.row().outcome) == (0, "done")


def test_paused_and_removed_ones_are_left_alone(watched: Scene) -> None:
    watched.look()
    watched.watching.pause(watched.watch, True, "admin", "test")
    assert watched.watching.store.kept(watched.watch) is None
    assert watched.look_now() == (0, 0)
    watched.watching.pause(watched.watch, False, "admin", "test")
    assert watched.look() == (1, 0)
    watched.watching.remove(watched.watch, "admin", "test")
    assert watched.look() == (0, 0)
    with pytest.raises(UnknownWatchError):
        watched.watching.now(watched.watch)


def test_nobody_is_watched_twice(watched: Scene) -> None:
    first = watched.watch
    assert watched.add() == first


# -- what is kept ------------------------------------------------------------------------------


def test_nothing_of_the_patient_is_in_the_database_in_clear(watched: Scene) -> None:
    watched.look()
    kept = watched.watching.store.kept(watched.watch)
    assert kept
    assert len(kept) > 1000
    home = watched.service.runtime.config.home
    whole = b"".join(path.read_bytes() for path in home.glob("twinport.db*"))
    assert b"demo-008" not in whole


def test_without_keeping_everything_is_pulled(open_scene: Open) -> None:
    scene = open_scene(more={"TWINPORT_WATCH__KEEP_RECORD": "false"})
    scene.add()
    scene.look()
    scene.look_now()
    assert scene.watching.store.kept(scene.watch) is None
    assert scene.rests() is None


def test_what_is_kept_cannot_be_moved_to_another_watch(watched: Scene) -> None:
    watched.look()
    sealed = watched.watching.store.kept(watched.watch)
    store = watched.watching.store
    other, _ = store.add("other", "ehr", lambda _: b"")
    twin = watched.row().twin
    assert twin is not None
    store.done(other, sealed, twin)
    assert watched.watching.begin(other, False).kept is None
    assert watched.watching.begin(watched.watch, False).kept is not None


def test_erasure_ends_the_watch(watched: Scene) -> None:
    watched.look()
    twin = watched.row().twin
    assert twin is not None
    assert watched.watching.store.forget([twin]) == [watched.watch]
    assert watched.watching.store.all() == []


# -- shown later -------------------------------------------------------------------------------


def test_a_result_past_its_shelf_life_says_so_on_the_facade(watched: Scene) -> None:
    """Until a look finds that it still holds."""
    watched.look()
    service, twin = watched.service, watched.row().twin
    assert twin is not None

    def shown() -> OwnResource:
        query = FhirQuery(type="RiskAssessment", twins=(twin,))
        (found,) = service.fhir_search(query).resources
        assert service.fhir_resource("RiskAssessment", found.id).resource == found.resource
        return found

    assert not shown().past
    age(service, timedelta(days=500))
    old = shown()
    assert old.past
    assert old.resource["meta"]["tag"][-1]["code"] == "no-longer-current"
    assert old.resource["note"][-1]["text"].startswith("No longer current: ")
    get_fhir_model_class("RiskAssessment").model_validate(copy.deepcopy(dict(old.resource)))
    watched.look_now()
    assert not shown().past


def age(service: Service, by: timedelta) -> None:
    """As if everything had been made so long before."""
    then = utc_now() - by
    with service.runtime.database.write() as session:
        session.execute(update(TwinRow).values(created=then))
        session.execute(update(RunRow).values(finished=then))
