"""Made, opened, guessed at, run out, updated, revoked: over HTTP, as a receiver sees it."""

import base64
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.issuer import BASE, Home, twin_of

from privacy.signing import b64, open_envelope, verify
from service.pages.viewer import viewing_policy
from service.portable import jwe
from service.portable.errors import PortableError
from service.sharing.desk import Desk, Made, Wish
from service.sharing.qr import drawn, svg
from service.stores.links import LinkStore
from service.web.audiences import audiences

ME = ("patient", "session:1")


@pytest.fixture
def client(place: Home) -> Any:
    return place.app.test_client()


def made(place: Home, **wish: Any) -> Made:
    return place.desk.make(place.twin, Wish(**wish), BASE, *ME)


def path(link: Made) -> str:
    return link.link.url.removeprefix(BASE)


def ask(client: Any, link: Made, **body: Any) -> Any:
    return client.post(path(link), json={"recipient": "Dr Example"} | body)


def contents(answer: Any, link: Made) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [
        orjson.loads(jwe.unseal(file["embedded"], link.link.key).content)
        for file in answer.json["files"]
    ]


# -- opening -------------------------------------------------------------------------------------


def test_a_link_opens_the_summary_and_the_signed_twin(place: Home, client: Any) -> None:
    link = made(place, label="Second opinion")
    answer = ask(client, link)
    assert answer.content_type == "application/json"
    assert [f["contentType"] for f in answer.json["files"]] == ["application/fhir+json"] * 2
    assert {f["status"] for f in answer.json["files"]} == {"finalized"}
    summary, signed = contents(answer, link)
    assert (summary["resourceType"], summary["type"]) == ("Bundle", "document")
    attachment = signed["content"][0]["attachment"]
    payload, proof = open_envelope(base64.b64decode(attachment["data"]))
    assert verify(proof["jws"], payload, place.runtime.verification_keys())


def test_the_encrypted_files_say_what_they_hold(place: Home, client: Any) -> None:
    link = made(place)
    for file in ask(client, link).json["files"]:
        assert jwe.read_header(file["embedded"])["cty"] == file["contentType"]


def test_what_does_not_fit_is_had_by_a_ticket(place: Home, client: Any) -> None:
    link = made(place)
    files = ask(client, link, embeddedLengthMax=100).json["files"]
    assert all("embedded" not in file for file in files)
    for file in files:
        got = client.get(file["location"].removeprefix("http://localhost"))
        assert (got.status_code, got.content_type) == (200, "application/jose")
        assert jwe.unseal(got.text, link.link.key).content_type == "application/fhir+json"


def test_a_ticket_ends_with_its_link(place: Home, client: Any) -> None:
    link = made(place)
    (file, *_) = ask(client, link, embeddedLengthMax=0).json["files"]
    place.desk.revoke(place.twin, link.id, *ME)
    assert client.get(file["location"].removeprefix("http://localhost")).status_code == 404


@pytest.mark.parametrize("ticket", ["x", "WyJhIiwwXQ.aaaa.bbbb", "%00"])
def test_a_ticket_that_we_did_not_give_opens_nothing(place: Home, client: Any, ticket: str) -> None:
    assert client.get(f"{path(made(place))}/{ticket}").status_code == 404


def test_a_single_file_is_had_at_once(place: Home, client: Any) -> None:
    link = made(place, single=True)
    got = client.get(f"{path(link)}?recipient=Dr+Example")
    assert (got.status_code, got.content_type) == (200, "application/jose")
    assert orjson.loads(jwe.unseal(got.text, link.link.key).content)["type"] == "document"
    assert client.get(path(link)).status_code == 422
    assert ask(client, link).status_code == 404
    assert client.get(f"{path(made(place))}?recipient=x").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"recipient": ""},
        {"recipient": 5},
        {"recipient": "x" * 1001},
        {"recipient": "x", "passcode": 5},
        {"recipient": "x", "embeddedLengthMax": "1"},
        {"recipient": "x", "embeddedLengthMax": -1},
        {"recipient": "x", "embeddedLengthMax": True},
    ],
)
def test_a_question_that_is_not_one_says_what_is_wrong(
    place: Home, client: Any, body: dict[str, Any]
) -> None:
    answer = client.post(path(made(place)), json=body)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"


def test_unknown_members_are_ignored(place: Home, client: Any) -> None:
    assert ask(client, made(place), more=[1]).status_code == 200


def test_viewers_on_other_sites_may_ask(place: Home, client: Any) -> None:
    link = made(place)
    for answer in (client.options(path(link)), ask(client, link), client.get("/shl/none")):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "no-store"
    assert client.options(path(link)).status_code == 204


# -- passcode ------------------------------------------------------------------------------------


def test_a_passcode_is_asked_for_and_counted(place: Home, client: Any) -> None:
    link = made(place, passcode="427910")
    missing, wrong = ask(client, link), ask(client, link, passcode="427911")
    assert (missing.status_code, missing.json) == (401, {"remainingAttempts": 10})
    assert (wrong.status_code, wrong.json) == (401, {"remainingAttempts": 9})
    assert ask(client, link, passcode="427910").status_code == 200
    assert ask(client, link, passcode="0000").json == {"remainingAttempts": 8}


def test_the_last_wrong_passcode_ends_the_link(place: Home, client: Any) -> None:
    link = made(place, passcode="right")
    left = [ask(client, link, passcode="wrong").json["remainingAttempts"] for _ in range(10)]
    assert left == list(range(9, -1, -1))
    assert ask(client, link, passcode="right").status_code == 404
    assert place.desk.links(place.twin)[0].ended == "used-up"


def test_fifty_guesses_at_once_are_not_more_than_allowed(place: Home) -> None:
    link = made(place, passcode="right")
    token = link.link.url.rpartition("/")[2]
    desks = [Desk(place.runtime) for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda desk: desk.ask(token, "guesser", "wrong"), desks))
    told = Counter(answer.asked.value for answer in answers)
    assert told == {"wrong-passcode": 10, "gone": 40}
    assert sorted(a.attempts_left for a in answers if a.asked.value != "gone") == list(range(10))


def test_right_answers_at_once_use_nothing_up(place: Home) -> None:
    link = made(place, passcode="right")
    token = link.link.url.rpartition("/")[2]
    with ThreadPoolExecutor(20) as pool:
        asked = pool.map(lambda _: place.desk.ask(token, "reader", "right").asked.value, range(30))
    assert set(asked) == {"opened"}


# -- ending --------------------------------------------------------------------------------------


def test_every_ended_link_looks_like_none(place: Home, client: Any) -> None:
    later: Callable[[], datetime] = lambda: datetime.now(UTC) + timedelta(days=2)  # noqa: E731
    revoked, expired = made(place), made(place, lasts=timedelta(seconds=1))
    place.desk.revoke(place.twin, revoked.id, *ME)
    token = expired.link.url.rpartition("/")[2]
    assert Desk(place.runtime, later).ask(token, "x", None).asked.value == "gone"
    never = client.post("/shl/" + b64(bytes(32)), json={"recipient": "x"})
    answers = [ask(client, revoked), never, client.post("/shl/short", json={"recipient": "x"})]
    assert {a.status_code for a in answers} == {404}
    told = [{k: v for k, v in a.json.items() if k != "instance"} for a in answers]
    assert all(one == told[0] for one in told)


def test_revoking_destroys_what_it_opened(place: Home) -> None:
    link = made(place)
    store = LinkStore(place.runtime.database)
    assert len(store.files(link.id)) == 2
    assert place.desk.revoke(place.twin, link.id, *ME)
    assert store.files(link.id) == []


def test_another_twins_link_cannot_be_revoked_or_looked_into(place: Home) -> None:
    link, other = made(place), twin_of(place.runtime, "demo-008").twin.id
    assert not place.desk.revoke(other, link.id, *ME)
    assert place.desk.uses(other, link.id) == []
    assert place.desk.update(link.link, *ME, other) is None


def test_what_has_run_out_is_swept_away(place: Home) -> None:
    link = made(place, lasts=timedelta(seconds=1))
    later = Desk(place.runtime, lambda: datetime.now(UTC) + timedelta(days=1))
    assert later.sweep() >= 2
    assert LinkStore(place.runtime.database).files(link.id) == []


# -- afterwards ----------------------------------------------------------------------------------


def test_the_giver_sees_who_opened_it_in_their_own_words(place: Home, client: Any) -> None:
    link = made(place, passcode="right", label="For Dr Example")
    ask(client, link, passcode="wrong", recipient="Somebody <b>")
    ask(client, link, passcode="right", recipient="Dr Example")
    uses = place.desk.uses(place.twin, link.id)
    assert [(use.outcome, use.recipient) for use in uses] == [
        ("opened", "Dr Example"),
        ("wrong-passcode", "Somebody <b>"),
    ]
    (shown,) = [one for one in place.desk.links(place.twin) if one.id == link.id]
    assert (shown.label, shown.opened, shown.attempts_left) == ("For Dr Example", 1, 9)


def test_a_long_term_link_is_brought_up_to_date_by_its_holder(place: Home, client: Any) -> None:
    link = made(place, long_term=True)
    before = ask(client, link)
    assert {f["status"] for f in before.json["files"]} == {"can-change"}
    assert int(before.headers["Retry-After"]) > 0
    assert twin_of(place.runtime, "demo-001", date(2026, 9, 1)).twin.id == place.twin
    assert place.desk.update(link.link, *ME) == 2
    after = contents(ask(client, link), link)
    assert after != contents(before, link)
    assert place.desk.update(made(place).link, *ME) is None


def test_no_key_address_label_or_name_is_stored(place: Home, client: Any) -> None:
    """Neither as it is nor in another spelling, anywhere in the database's files."""
    link = made(place, label="Wilhelmina's knee", passcode="sesame-open")
    ask(client, link, passcode="sesame-open", recipient="Professor Quimby")
    token = link.link.url.rpartition("/")[2]
    secrets = [token, b64(link.link.key), link.link.key.hex(), "Wilhelmina", "sesame", "Quimby"]
    stored = b"".join(p.read_bytes() for p in database_files(place))
    for secret in secrets:
        assert secret.encode() not in stored
    assert link.link.key not in stored


def database_files(place: Home) -> list[Path]:
    name = place.runtime.database.engine.url.database
    if place.runtime.database.is_postgresql or name is None:
        pytest.skip("reads the files of SQLite")
    with sqlite3.connect(name) as connection:
        connection.execute("PRAGMA wal_checkpoint(FULL)")
    return sorted(Path(name).parent.glob(Path(name).name + "*"))


# -- making --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        {"label": "x" * 81},
        {"passcode": "123"},
        {"passcode": "x" * 65},
        {"lasts": timedelta(days=400)},
        {"lasts": timedelta(0)},
        {"single": True, "passcode": "1234"},
    ],
)
def test_a_wish_that_cannot_be_granted(place: Home, wish: dict[str, Any]) -> None:
    with pytest.raises(PortableError):
        made(place, **wish)


def test_the_address_is_as_short_as_the_standard_asks(place: Home) -> None:
    with pytest.raises(PortableError, match="too long"):
        place.desk.make(place.twin, Wish(), "https://" + "x" * 100, *ME)
    assert len(made(place).link.url) <= 128


def test_a_link_is_a_qr_code(place: Home) -> None:
    text = made(place).link.spelled("https://twin.example.org/view")
    picture = svg(text)
    assert picture.startswith(b"<svg")
    assert b"style" not in picture
    assert len(drawn(text).splitlines()) > 20


def test_the_viewer_runs_our_own_files_alone(place: Home, client: Any) -> None:
    page = client.get("/view")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'; " in policy
    assert "connect-src 'self' https: http://127.0.0.1:* http://localhost:*; " in policy
    assert "require-trusted-types-for 'script'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert "connect-src 'self' https:; " in viewing_policy("https://twin.example.org")
    assert "connect-src 'self'; " in client.get("/verify").headers["Content-Security-Policy"]


def test_the_open_routes_of_the_whole_service_are_these(place: Home) -> None:
    known = audiences(place.app)
    rules = place.app.url_map.iter_rules()
    found = {rule.rule for rule in rules if known[rule.endpoint].is_open}
    assert {rule for rule in found if rule.startswith("/shl")} == {
        "/shl/<token>",
        "/shl/<token>/<ticket>",
    }
