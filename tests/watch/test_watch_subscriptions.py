"""Subscriptions against a server that really sends: both dialects, with gaps, twice, out of order,
and when it gives up."""

from datetime import timedelta

import pytest
import requests
from watch_scene import Open, Scene, state_of

from service.sandbox.persona import Pairs, Persona
from service.sandbox.subscriptions import BACKPORT, REST_HOOK
from service.stores.database import utc_now
from service.stores.watches import HookState
from service.watch import bodies
from service.watch.subscribing import Place

ACTIVE = HookState.ACTIVE

pytestmark = pytest.mark.slow


@pytest.fixture
def scene(open_scene: Open) -> Scene:
    opened: Scene = open_scene()
    opened.add()
    return opened


@pytest.fixture
def subscribed(scene: Scene) -> Scene:
    scene.manners.dialects = frozenset({BACKPORT})
    scene.subscribe()
    return scene


@pytest.fixture
def backport(subscribed: Scene) -> Scene:
    """Subscribed and looked at once."""
    subscribed.look()
    return subscribed


def place(scene: Scene) -> Place:
    return scene.watching.subscriber._place(scene.hook())


def post(scene: Scene, address: str, secret: str, body: bytes = b"", **headers: str) -> int:
    url = f"{scene.service.runtime.config.web.origin}/hooks/{address}"
    sent = {bodies.HEADER: secret, "Content-Type": "application/fhir+json", **headers}
    return requests.post(url, data=body, headers=sent, timeout=120).status_code


# -- a change reaches the chart ----------------------------------------------------------------


@pytest.mark.parametrize("dialect", [BACKPORT, REST_HOOK])
def test_what_the_server_announces_is_looked_at_and_reaches_the_chart(
    scene: Scene, dialect: str
) -> None:
    scene.manners.dialects = frozenset({dialect})
    hooks = scene.subscribe()
    kinds = ["*"] if dialect == BACKPORT else ["Condition", "MedicationRequest", "Observation"]
    scene.look()  # and again, since our own results were announced, too
    scene.tend()
    assert sorted(state_of(scene.hooks())) == [(kind, ACTIVE) for kind in kinds]
    assert len(hooks) == len(kinds)
    assert scene.look() == (0, 0)

    scene.change(scene.newest(), status="entered-in-error")
    assert scene.is_due()
    assert scene.look().failed == 0
    assert scene.statuses().count("entered-in-error withdrawn") == 2
    assert set(scene.sandbox.inside.subscriptions.answers) == {200}


class Undated(Persona):
    """Knows no `_lastUpdated`."""

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        return [pair for pair in pairs if pair[0] != "_lastUpdated"]


@pytest.mark.parametrize("told", ["announced", "on demand"])
def test_where_no_search_tells_of_a_correction_all_is_pulled_for_one_that_is_known_of(
    open_scene: Open, told: str
) -> None:
    """Of an input older than the days in which what is new is looked for."""
    scene: Scene = open_scene(persona=Undated())
    reading = scene.newest()
    long_ago = (utc_now() - timedelta(days=100)).date().isoformat()
    for other in scene.sandbox.resources("Observation"):
        if other["code"] == reading["code"] and other["id"] != reading["id"]:
            scene.delete(other)
    scene.change(reading, effectiveDateTime=long_ago)
    scene.add()
    if told == "announced":
        scene.manners.dialects = frozenset({REST_HOOK})
        scene.subscribe()
    for _ in range(3):
        scene.look_now()
    scene.tend()
    scene.look()
    reading = scene.newest()
    scene.change(reading, status="entered-in-error")
    looked = scene.look() if told == "announced" else scene.look_now()
    assert looked.failed == 0
    assert [s for s in scene.statuses() if s.startswith("entered-in-error")]


def test_a_server_that_offers_none_is_looked_at_by_time(scene: Scene) -> None:
    assert scene.subscribe() == []
    assert scene.look() == (1, 0)


# -- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps_events", [True, False])
def test_a_gap_is_found_and_filled(backport: Scene, keeps_events: bool) -> None:
    scene = backport
    scene.manners.events = keeps_events
    last = scene.hook().last
    scene.manners.lose = {last + 1}
    scene.change(scene.newest(), status="entered-in-error")  # never announced
    scene.change(scene.newest("85354-9"), language="en")
    assert scene.hook().ahead == [last + 2]
    scene.tend()
    assert (scene.hook().last, scene.hook().ahead) == (last + 2, [])
    assert scene.row().whole is not keeps_events
    scene.look()
    assert scene.statuses().count("entered-in-error withdrawn") == 2


def test_a_lost_deletion_is_pulled_for_whatever_comes_first(backport: Scene) -> None:
    scene = backport
    last = scene.hook().last
    scene.manners.lose = {last + 1}
    scene.delete(scene.newest())
    scene.change(scene.newest("85354-9"), language="en")
    scene.tend()
    assert scene.row().whole  # `$events` says that it was a deletion
    scene.look()
    assert scene.statuses().count("entered-in-error withdrawn") == 2


def test_twice_and_out_of_order_counts_once(subscribed: Scene) -> None:
    scene = subscribed
    last = scene.hook().last
    scene.manners.twice = scene.manners.hold = True
    for value in ("en", "de", "fr"):
        scene.change(scene.newest(), language=value)
    scene.sandbox.inside.subscriptions.release([4, 0, 1, 5, 2, 3])
    assert (scene.hook().last, scene.hook().ahead) == (last + 3, [])
    assert not scene.row().whole


def test_a_heartbeat_that_counts_more_has_everything_pulled(backport: Scene) -> None:
    scene = backport
    scene.manners.lose = {scene.hook().last + 1}
    scene.change(scene.newest(), status="entered-in-error")
    assert not scene.row().whole
    scene.sandbox.inside.subscriptions.heartbeat()
    assert scene.row().whole
    scene.look()
    assert scene.statuses().count("entered-in-error withdrawn") == 2


# -- life --------------------------------------------------------------------------------------


def test_a_server_that_gave_up_is_asked_to_go_on_once_the_record_is_seen_to(
    backport: Scene,
) -> None:
    scene = backport
    (theirs,) = scene.sandbox.inside.subscriptions.all.values()
    theirs.resource["status"] = "error"
    scene.change(scene.newest(), status="entered-in-error")  # counted there, and not sent
    scene.tend()
    assert (scene.hook().state, scene.hook().error) == (HookState.ERROR, "stopped-by-server")
    scene.tend()
    assert theirs.resource["status"] == "error"  # not before the look
    scene.look()
    assert scene.statuses().count("entered-in-error withdrawn") == 2
    scene.tend()
    scene.tend()
    assert (scene.hook().state, scene.hook().error) == (ACTIVE, "")


def test_one_that_the_server_has_forgotten_is_made_anew(subscribed: Scene) -> None:
    scene = subscribed
    scene.sandbox.inside.subscriptions.all.clear()
    scene.tend()
    assert scene.hook().error == "gone-on-server"
    assert scene.row().whole
    scene.tend()
    assert len(scene.sandbox.inside.subscriptions.all) == 1
    assert scene.hook().state is ACTIVE


def test_it_is_renewed_before_it_ends(subscribed: Scene) -> None:
    scene = subscribed
    soon = utc_now() + timedelta(days=3)
    scene.watching.hooks.change(scene.hook().id, lambda row: setattr(row, "ends", soon))
    scene.tend()
    ends = scene.hook().ends
    assert ends is not None
    assert ends > utc_now() + timedelta(days=29)
    assert len(scene.sandbox.inside.subscriptions.all) == 1


def test_an_answer_that_was_lost_makes_no_second_one(subscribed: Scene) -> None:
    scene = subscribed
    known = place(scene)
    lost = Place(known.address, known.secret)
    scene.watching.hooks.change(
        scene.hook().id, lambda row: scene.watching.subscriber._put_place(row, lost)
    )
    scene.tend()
    assert place(scene) == known
    assert len(scene.sandbox.inside.subscriptions.all) == 1


def test_it_is_taken_back_with_the_watch_though_the_server_be_away(subscribed: Scene) -> None:
    scene = subscribed
    subscriptions = scene.sandbox.inside.subscriptions
    held, subscriptions.manners.dialects = subscriptions.manners.dialects, frozenset()
    scene.sandbox.inside.persona.intercept = (  # type: ignore[method-assign]
        lambda request: __import__("flask").Response(status=503)
    )
    assert scene.watching.remove(scene.watch, "admin", "test") == 1
    subscriptions.manners.dialects = held
    del scene.sandbox.inside.persona.intercept
    scene.tend()
    assert (scene.hooks(), subscriptions.all) == ([], {})


# -- who may knock -----------------------------------------------------------------------------


def test_without_both_secrets_there_is_nothing_there(subscribed: Scene) -> None:
    scene, known = subscribed, place(subscribed)
    answers = {
        post(scene, known.address, "wrong"),
        post(scene, known.address, ""),
        post(scene, "unknown", known.secret),
        post(scene, known.address[:-1], known.secret),
        post(scene, "x" * 500, known.secret),
    }
    assert answers == {404}
    assert post(scene, known.address, known.secret) == 200


def test_what_is_no_notification_is_refused(subscribed: Scene) -> None:
    scene, known = subscribed, place(subscribed)
    xml = {"Content-Type": "application/fhir+xml"}
    assert post(scene, known.address, known.secret, b"<x/>", **xml) == 415
    assert post(scene, known.address, known.secret, b"{") == 400
    assert post(scene, known.address, known.secret, b"x" * (5 << 20) + b"xx") == 413
    assert scene.hook().error == ""


def test_neither_address_nor_secret_is_kept_in_clear(subscribed: Scene) -> None:
    known = place(subscribed)
    home = subscribed.service.runtime.config.home
    whole = b"".join(path.read_bytes() for path in home.glob("twinport.db*"))
    assert known.address.encode() not in whole
    assert known.secret.encode() not in whole
