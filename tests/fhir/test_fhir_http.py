"""The transport under bad servers: it ends, it says what happened, and it keeps its secrets."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
import urllib3
from fhir_servers import (
    QUICK,
    RawServer,
    ScriptedServer,
    bundle,
    client_for,
    fhir,
    http_bytes,
    observations,
    outcome,
)
from hypothesis import given
from hypothesis import strategies as st
from werkzeug import Response

from service.config.sections import ServerAuth
from service.fhir import errors
from service.fhir.http import FhirClient
from service.fhir.origin import _read, origin_of, require_public, resolve_link
from service.fhir.pull import pull_patient
from service.fhir.retry import parse_retry_after
from service.fhir.servers import Limits, ServerConfig
from service.fhir.wire import translate

SECRET = {"kind": "bearer", "token": "s3cret"}
PATIENT = {"resourceType": "Patient", "id": "p1"}


def read(base: str, **kwargs: Any) -> Any:
    with client_for(base, **kwargs) as client:
        return client.read("Patient", "p1").resource


# What is repeated, and how often


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_faults_are_tried_again(scripted: ScriptedServer, status: int) -> None:
    scripted.on("Patient/p1", Response("busy", status), fhir(PATIENT))
    assert read(scripted.base) == PATIENT


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.Invalid),
        (401, errors.SignInRefused),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.NotSupported),
        (409, errors.Conflict),
        (410, errors.Gone),
        (412, errors.Precondition),
        (418, errors.Refused),
        (422, errors.Unprocessable),
        (501, errors.NotSupported),
    ],
)
def test_other_refusals_are_not(
    scripted: ScriptedServer, status: int, error: type[errors.FhirError]
) -> None:
    scripted.on("Patient/p1", fhir(outcome("processing"), status))
    with pytest.raises(error) as caught:
        read(scripted.base)
    assert type(caught.value) is error
    assert len(scripted.requests) == 1
    assert (caught.value.status, caught.value.issues) == (status, ("processing",))


@pytest.mark.parametrize(
    ("condition", "code", "error"),
    [
        ({"If-None-Exist": "identifier=a|b"}, "processing", errors.MultipleMatches),
        ({"If-Match": 'W/"1"'}, "processing", errors.VersionMismatch),
        ({"If-None-Match": "*"}, "conflict", errors.VersionMismatch),
        ({"If-Match": 'W/"1"'}, "multiple-matches", errors.MultipleMatches),
        ({}, "processing", errors.Precondition),
    ],
)
def test_both_meanings_of_412_are_told_apart(
    scripted: ScriptedServer, condition: dict[str, str], code: str, error: type[errors.FhirError]
) -> None:
    """By what was asked for, and by what the outcome says."""
    scripted.on("Patient/p1", fhir(outcome(code), 412))
    with client_for(scripted.base) as client, pytest.raises(error) as caught:
        client.write("PUT", ("Patient", "p1"), PATIENT, condition=condition)
    assert type(caught.value) is error


def test_a_storm_of_faults_ends_with_the_last_one(scripted: ScriptedServer) -> None:
    scripted.on("Patient/p1", Response("", 503))
    with pytest.raises(errors.ServerFailed):
        read(scripted.base)
    assert len(scripted.requests) == QUICK.tries


def test_the_wish_to_wait_is_honoured_in_both_forms() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert parse_retry_after("7") == 7.0
    assert 90 < (parse_retry_after(soon) or 0) <= 100
    assert parse_retry_after("Wed, 01 Jan 2020 00:00:00 GMT") == 0.0
    assert parse_retry_after("Wed, 01 Jan 2020 00:00:00 -0000") == 0.0


@given(st.text(max_size=30))
def test_any_other_wish_is_ignored(text: str) -> None:
    found = parse_retry_after(text)
    assert found is None or found >= 0


def test_a_wait_longer_than_the_budget_is_not_begun(scripted: ScriptedServer) -> None:
    limits = replace(QUICK, budget_seconds=5, longest_pause_seconds=600)
    scripted.on("Patient/p1", Response("", 429, headers={"Retry-After": "100"}))
    with pytest.raises(errors.BudgetSpent):
        read(scripted.base, limits=limits)


def test_a_write_is_not_repeated_blindly(scripted: ScriptedServer) -> None:
    scripted.on("RiskAssessment", Response("", 503))
    with client_for(scripted.base) as client, pytest.raises(errors.ServerFailed):
        client.write("POST", ("RiskAssessment",), {"resourceType": "RiskAssessment"})
    assert len(scripted.requests) == 1


def test_cancelling_ends_a_pause(scripted: ScriptedServer) -> None:
    stop = threading.Event()
    limits = replace(QUICK, longest_pause_seconds=60, budget_seconds=600)
    config = ServerConfig("test", scripted.base, limits=limits)

    def refuse(_: Any) -> Response:
        stop.set()
        return Response("", 503, headers={"Retry-After": "60"})

    scripted.on("Patient/p1", refuse)
    with FhirClient(config, cancel=stop) as client, pytest.raises(errors.Cancelled):
        client.read("Patient", "p1")


# What comes over the wire


def one_line(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


BODY = json.dumps(PATIENT).encode()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (http_bytes(BODY[:-5], length=len(BODY)), errors.ConnectionLost),
        (http_bytes(BODY[:-5]), errors.NotFhir),
        (http_bytes(b"<html>sign in</html>", "Content-Type: text/html"), errors.NotFhir),
        (http_bytes(b""), errors.NotFhir),
        (http_bytes(b"[]"), errors.NotFhir),
        (http_bytes(b"\xff\xfe{}"), errors.NotFhir),
        (http_bytes(BODY, "Content-Encoding: gzip"), errors.NotFhir),
        (http_bytes(gzip.compress(BODY)[:-6], "Content-Encoding: gzip"), errors.NotFhir),
        (http_bytes(BODY, "Content-Encoding: br"), errors.NotFhir),
        (http_bytes(json.dumps(outcome("exception")).encode()), errors.OutcomeInstead),
        (b"220 mail.example ESMTP\r\n", errors.ConnectionLost),
        (b"", errors.ConnectionLost),
    ],
)
def test_unusable_answers_have_their_name(
    raw: RawServer, data: bytes, error: type[errors.FhirError]
) -> None:
    raw.scripts = [one_line(data)]
    with pytest.raises(error) as caught:
        read(raw.base)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "content_type", ["application/json+fhir; charset=UTF-8", "application/json", "text/plain"]
)
def test_fhir_is_recognised_under_any_content_type(
    scripted: ScriptedServer, content_type: str
) -> None:
    scripted.on("Patient/p1", Response(BODY, content_type=content_type))
    assert read(scripted.base) == PATIENT


def test_gzip_is_unpacked_in_one_or_several_members(raw: RawServer) -> None:
    for packed in (gzip.compress(BODY), gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])):
        raw.scripts = [one_line(http_bytes(packed, "Content-Encoding: gzip"))]
        assert read(raw.base) == PATIENT


def test_a_gzip_bomb_is_put_out_early(raw: RawServer) -> None:
    bomb = gzip.compress(b" " * 200_000_000)
    raw.scripts = [one_line(http_bytes(bomb, "Content-Encoding: gzip"))]
    with pytest.raises(errors.TooLarge):
        read(raw.base, limits=replace(QUICK, body_bytes=1_000_000))


def test_an_endless_body_is_cut_off(raw: RawServer) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(http_bytes(b"", length=10**12))
        while not raw.stopped.is_set():
            connection.sendall(b" " * 65536)

    raw.scripts = [flood]
    with pytest.raises(errors.TooLarge):
        read(raw.base, limits=replace(QUICK, body_bytes=1_000_000))


@pytest.mark.parametrize("start", [http_bytes(b"", length=1000), b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_a_trickle_ends_with_the_budget(raw: RawServer, start: bytes) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(start)
        while not raw.stopped.wait(0.05):
            connection.sendall(b" ")

    raw.scripts = [trickle]
    limits = replace(QUICK, budget_seconds=0.6, read_seconds=0.4)
    with pytest.raises(errors.TransportError):
        read(raw.base, limits=limits)


def test_no_answer_at_all_is_a_time_out(raw: RawServer) -> None:
    raw.scripts = [lambda _: raw.stopped.wait(5) and None]
    with pytest.raises(errors.TimedOut):
        read(raw.base, limits=replace(QUICK, read_seconds=0.2, tries=1))


def test_a_job_that_hangs_costs_another_its_own_budget_only(raw: RawServer) -> None:
    """Both want the one request that this server may have under way; the first never ends."""
    begun, done = threading.Event(), threading.Event()

    def hang(_: socket.socket) -> None:
        begun.set()
        done.wait(30)

    raw.scripts = [hang]
    one = replace(QUICK, concurrency=1, tries=1, read_seconds=30, budget_seconds=30)
    first = threading.Thread(target=lambda: _read_in_vain(raw.base, one))
    first.start()
    assert begun.wait(30)
    with pytest.raises(errors.BudgetSpent):
        read(raw.base, limits=replace(one, budget_seconds=0.2))
    assert first.is_alive()
    done.set()
    first.join()


def _read_in_vain(base: str, limits: Limits) -> None:
    with pytest.raises(errors.FhirError):
        read(base, limits=limits)


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(errors.Unreachable, match=r"GET Patient/\{id\}"):
        read("http://127.0.0.1:9/fhir")


# Secrets stay at home


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_at_home_only(scripted: ScriptedServer, status: int) -> None:
    scripted.on("Patient/p1", Response("", status, headers={"Location": "../Patient/p1-new"}))
    scripted.on("Patient/p1-new", fhir(PATIENT))
    assert read(scripted.base, auth=SECRET) == PATIENT
    assert scripted.requests[-1].headers["Authorization"] == "Bearer s3cret"
    with ScriptedServer() as stranger:
        away = f"{stranger.base}/Patient/p1"
        scripted.on("Patient/p1", Response("", status, headers={"Location": away}))
        with pytest.raises(errors.ForeignOrigin):
            read(scripted.base, auth=SECRET)
        assert stranger.requests == []


def test_redirects_without_end_are_left(scripted: ScriptedServer) -> None:
    scripted.on("Patient/p1", Response("", 302, headers={"Location": "p1"}))
    with pytest.raises(errors.BadAnswer, match="without end"):
        read(scripted.base)


@pytest.mark.parametrize(
    "link",
    [
        "{stranger}/Observation?page=2",
        "{scheme_relative}/Observation?page=2",
        "{stranger}/?x={base}/Observation",
        "http://user@{netloc}/fhir/Observation",
        "https://{netloc}/fhir/Observation?page=2",
        "file:///etc/passwd",
        "gopher://{netloc}/",
        "http://127.0.0.1:notaport/",
    ],
)
def test_a_next_link_to_elsewhere_is_not_followed(scripted: ScriptedServer, link: str) -> None:
    with ScriptedServer() as stranger:
        following = link.format(
            stranger=stranger.base,
            scheme_relative=stranger.base.removeprefix("http:"),
            base=scripted.base,
            netloc=scripted.origin.removeprefix("http://"),
        )
        scripted.patient("p1")
        page = bundle(*observations("p1", "a"), next=following)
        scripted.on("Observation", fhir(page))
        with client_for(scripted.base, auth=SECRET) as client:
            pulled = pull_patient(client, "p1", ["Observation"])
        assert stranger.requests == []
    row = pulled.completeness["slices"][1]
    assert row["verdict"] == "partial"
    assert row["reason"] in ("foreign-origin", "unsafe-address")
    assert len(pulled.resources) == 2


def test_a_trusted_origin_gets_what_the_base_gets(scripted: ScriptedServer) -> None:
    with ScriptedServer() as inner:
        scripted.patient("p1")
        page = bundle(*observations("p1", "a"), next=f"{inner.base}/Observation?page=2")
        scripted.on("Observation", fhir(page))
        subject = {"reference": f"{inner.base}/Patient/p1"}
        inner.on("Observation", fhir(bundle(*observations("", "b", subject=subject))))
        with client_for(scripted.base, auth=SECRET, trusted_origins=(inner.origin,)) as client:
            pulled = pull_patient(client, "p1", ["Observation"])
        assert inner.requests[0].headers["Authorization"] == "Bearer s3cret"
    assert [r["id"] for r in pulled.resources] == ["p1", "a", "b"]


def test_a_cookie_goes_back_to_whoever_gave_it_alone(scripted: ScriptedServer) -> None:
    """A server behind others may tell by it which of them has begun a search."""
    cookie = "node=b7; Path=/fhir; HttpOnly"
    with ScriptedServer() as inner:
        inner.on("Patient/p1", fhir(PATIENT))
        other = inner.origin.replace("127.0.0.1", "localhost")
        aside = Response("", 302, headers={"Location": f"{other}/fhir/Patient/p1"})
        scripted.on("Patient/p1", fhir(PATIENT, Set_Cookie=cookie), fhir(PATIENT), aside)
        with client_for(scripted.base, trusted_origins=(other,)) as client:
            for _ in range(3):
                client.read("Patient", "p1")
        assert "Cookie" not in scripted.requests[0].headers
        assert [r.headers["Cookie"] for r in scripted.requests[1:]] == ["node=b7"] * 2
        assert [r.headers.get("Cookie") for r in inner.requests] == [None]


@pytest.mark.parametrize("version", ["1\r\nX-More: 1", "1\n", "\r"])
def test_what_a_server_said_cannot_become_another_header(
    scripted: ScriptedServer, version: str
) -> None:
    with client_for(scripted.base) as client, pytest.raises(errors.UnsafeAddress) as caught:
        client.write("DELETE", ("Patient", "p1"), None, condition={"If-Match": version})
    assert "More" not in everything_in(caught.value)
    assert scripted.requests == []


def test_basic_sign_in_is_sent(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    read(scripted.base, auth={"kind": "basic", "username": "u", "password": "p:w"})
    assert scripted.requests[0].headers["Authorization"] == "Basic dTpwOnc="


# Errors say nothing about anyone


def everything_in(error: BaseException) -> str:
    chain, seen = [], error
    while seen is not None:
        chain.append(f"{seen!r} {seen} {vars(seen)}")
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
    return " ".join(chain)


@pytest.mark.parametrize("status", [400, 404, 500, 200])
def test_errors_hold_no_id_no_url_and_none_of_the_servers_words(
    scripted: ScriptedServer, status: int
) -> None:
    scripted.on("Patient/mrn-4711", fhir(outcome("Jane Roe"), status))
    with client_for(scripted.base) as client, pytest.raises(errors.FhirError) as caught:
        client.read("Patient", "mrn-4711")
    said = everything_in(caught.value)
    assert "4711" not in said
    assert "Roe" not in said
    assert caught.value.issues == ("other",)


def test_transport_errors_hold_no_url_either() -> None:
    with (
        client_for("http://127.0.0.1:9/fhir") as client,
        pytest.raises(errors.Unreachable) as caught,
    ):
        client.search("Observation", [("patient", "mrn-4711")])
    assert "4711" not in everything_in(caught.value)
    assert "GET Observation?patient" in str(caught.value)


@pytest.mark.parametrize("identity", ["..", ".", "a/b", "a?b", "a b", "", "a#b", "x" * 129, "é"])
def test_an_id_cannot_bend_the_path(scripted: ScriptedServer, identity: str) -> None:
    with client_for(scripted.base) as client, pytest.raises(errors.Invalid):
        client.read("Patient", identity)
    assert scripted.requests == []


def test_every_lower_exception_has_a_translation() -> None:
    lower = [
        value
        for module in (requests.exceptions, urllib3.exceptions)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
        and value.__module__ in ("requests.exceptions", "urllib3.exceptions")
    ]
    assert len(lower) > 40
    for kind in lower:
        found = translate(kind.__new__(kind), "GET x")
        assert isinstance(found, errors.TransportError | errors.UnsafeAddress), kind


# Addresses


_ODD = [
    "/",
    "//",
    "@",
    ":",
    ":80",
    ":99999",
    "\\",
    "?",
    "#",
    "[",
    "]",
    "\t",
    "\n",
    " ",
    "\xa0",
    ".",
    "%",
]


@given(st.lists(st.sampled_from(["http:", "https:", "HTTP:", "ehr", "EHR", "evil", *_ODD])))
def test_an_origin_is_the_same_however_it_is_read(parts: list[str]) -> None:
    """The short way for plain addresses says what the careful one says."""
    url = "".join(parts)
    try:
        expected = _read(url)
    except errors.UnsafeAddress:
        with pytest.raises(errors.UnsafeAddress):
            origin_of(url)
    else:
        assert origin_of(url) == expected


@given(st.text(max_size=60))
def test_any_text_is_a_link_at_home_or_refused(link: str) -> None:
    home = "https://ehr.example/fhir/Observation?x=1"
    allowed = frozenset({origin_of(home)})
    try:
        found = resolve_link(link, home, allowed, "GET x")
    except (errors.ForeignOrigin, errors.UnsafeAddress):
        return
    assert origin_of(found) == origin_of(home)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/token",
        "https://127.0.0.1/token",
        "https://10.0.0.1/token",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/token",
        "https://[fd00::1]/token",
        "https://localhost/token",
        "ftp://example.org/",
    ],
)
def test_a_discovered_address_must_be_public(url: str) -> None:
    with pytest.raises(errors.UnsafeAddress):
        require_public(url, "POST {token endpoint}")


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"base_url": "http://ehr.example/fhir"}, "Use https"),
        ({"base_url": "https://user:pw@ehr.example/fhir"}, "without user"),
        ({"base_url": "https://ehr.example/fhir?x=1"}, "without `\\?`"),
        ({"base_url": "ftp://ehr.example/fhir"}, r"http\(s\) URL"),
        ({"base_url": "https://ehr.example", "trusted_origins": ("ehr",)}, r"http\(s\) URL"),
        (
            {
                "base_url": "http://ehr.example/fhir",
                "allow_plain_http": True,
                "auth": ServerAuth(kind="bearer", token="x"),
            },
            "never sent in the clear",
        ),
        ({"base_url": "https://ehr.example", "auth": ServerAuth(kind="basic")}, "auth.username"),
        ({"base_url": "https://ehr.example", "auth": ServerAuth(kind="magic")}, "auth.kind"),
    ],
)
def test_a_server_that_cannot_be_used_safely_cannot_exist(
    entry: dict[str, Any], match: str
) -> None:
    with pytest.raises(errors.SetupError, match=match):
        ServerConfig("ward", **entry)


def test_the_budget_is_spent_across_requests(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    with client_for(scripted.base, limits=replace(QUICK, budget_seconds=0.05)) as client:
        time.sleep(0.06)
        with pytest.raises(errors.BudgetSpent):
            client.read("Patient", "p1")


def test_a_statement_is_asked_for_once_also_where_that_began_before(
    scripted: ScriptedServer,
) -> None:
    scripted.on("metadata", fhir({"resourceType": "CapabilityStatement"}))
    with client_for(scripted.base) as client:
        client.begin()
        assert client.metadata() is client.metadata()
    assert len(scripted.asked("metadata")) == 1


def test_what_went_wrong_before_is_told_to_who_asks_and_tried_again_by_the_next(
    scripted: ScriptedServer,
) -> None:
    answered = fhir({"resourceType": "CapabilityStatement"})
    scripted.on("metadata", fhir(outcome("forbidden"), 403), answered)
    with client_for(scripted.base) as client:
        client.begin()
        with pytest.raises(errors.Forbidden):
            client.metadata()
        assert client.metadata().status == 200
