"""The officer's console over HTTP: what each page answers, what it refuses, what it never tells."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from pages_site import EHR, FULL, HTML, PARTIAL, PERSON, REFUSED, Site, form_token

from privacy import ledger
from privacy.ledger import verify_ledger
from privacy.policy import load_policy
from privacy.signing import VerificationKeys
from service.auth import Role
from service.pages.officer import policies, stopped, twins
from service.stores.tables import TwinRow

OFFICER = Role.PRIVACY_OFFICER
READER = replace(EHR, subject="key.reader")


@pytest.fixture(scope="module")
def officer(site: Site) -> FlaskClient:
    return site.client(OFFICER)


def text_of(page: str) -> str:
    """What is read: without tags, spaces made one."""
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


# -- who and what --------------------------------------------------------------------------------


def rules(site: Site) -> list[Any]:
    return [r for r in site.app.url_map.iter_rules() if r.endpoint.startswith("officer.")]


@pytest.mark.parametrize("role", [role for role in Role if role is not OFFICER])
def test_every_route_of_the_console_is_the_officers_alone(site: Site, role: Role) -> None:
    client = site.patient(FULL) if role is Role.PATIENT else site.client(role)
    token = (
        {"X-CSRF-Token": form_token(client.get("/docs" if role is Role.ADMIN else "/").text)}
        if role is Role.ADMIN
        else {}
    )
    for rule in rules(site):
        path = re.sub(r"<int:[^>]+>", "1", re.sub(r"<[^:>]+>", "x", rule.rule))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS", "POST"}:
            assert client.open(path, method=method, headers=token).status_code == 403, path


def test_nobody_is_sent_to_the_form(site: Site) -> None:
    answer = site.app.test_client().get("/privacy/audit")
    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/privacy/audit")


def test_every_form_needs_the_token_of_its_page(site: Site, officer: FlaskClient) -> None:
    posts = [rule for rule in rules(site) if "POST" in (rule.methods or ())]
    assert len(posts) >= 6
    for rule in posts:
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        answer = officer.post(path, data={"csrf_token": "wrong"}, headers=HTML)
        assert answer.status_code == 403, path
        assert "The form could not be trusted" in answer.text


@pytest.mark.parametrize(
    ("address", "pointer"),
    [
        ("/privacy/twins?page=0", "/query/page"),
        ("/privacy/twins?page=x", "/query/page"),
        ("/privacy/twins?gate=open", "/query/gate"),
        ("/privacy/twins?twin=Miller%20Ann", "/query/twin"),
        ("/privacy/twins?name=Miller", "/query/?"),
        ("/privacy/runs?from=yesterday", "/query/from"),
        ("/privacy/runs?from=2026-02-02&to=2026-01-01", "/query/to"),
        ("/privacy/runs?to=9999-12-31", "/query/to"),
        ("/privacy/runs?state=lost", "/query/state"),
        ("/privacy/elements?q=%3Cb%3E", "/query/q"),
        ("/privacy/elements?type=Coverage", "/query/type"),
        ("/privacy/audit?action=guess", "/query/action"),
        ("/privacy/policies/compare?one=safe-harbor&other=none", "/query/other"),
        ("/privacy/identifiers?policy=none", "/query/policy"),
    ],
)
def test_an_address_that_asks_for_something_else_is_refused(
    officer: FlaskClient, address: str, pointer: str
) -> None:
    answer = officer.get(address)
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert [error["pointer"] for error in answer.get_json(force=True)["errors"]] == [pointer]
    assert "Miller" not in answer.text + officer.get(address, headers=HTML).text


@pytest.mark.parametrize(
    "path",
    [
        "/privacy/twins/nothing",
        "/privacy/twins/" + "A" * 22,
        "/privacy/twins/" + "A" * 22 + "/erasure",
        "/privacy/runs/nothing",
        "/privacy/ledger/9999",
        "/privacy/ledger/0",
        "/privacy/ledger/9999.jsonl",
        "/privacy/policies/nothing",
        "/privacy/elements/Patient.zzz",
        "/privacy/elements/Coverage.id",
        "/privacy/audit.xml",
    ],
)
def test_what_is_not_there_is_a_page_with_the_next_step(officer: FlaskClient, path: str) -> None:
    page, problem = officer.get(path, headers=HTML), officer.get(path)
    assert page.status_code == problem.status_code == 404
    assert (page.mimetype, problem.mimetype) == ("text/html", "application/problem+json")


# -- the first page ------------------------------------------------------------------------------


def test_the_first_page_says_what_is_to_be_done(acting: Site) -> None:
    client = acting.client(OFFICER)
    page = text_of(client.get("/privacy").text)
    assert "The ledger has not been verified yet." in page
    assert "share what an outsider may know with fewer than 11 twins" in page
    _verify(client)
    assert "The ledger has not been verified yet." not in text_of(client.get("/privacy").text)


def test_a_blocked_twin_comes_first_until_it_passes(acting: Site) -> None:
    client, twin = acting.client(OFFICER), acting.twins[PERSON]
    block(acting, twin)
    page = text_of(client.get("/privacy").text)
    assert page.index("1 twin is blocked") < page.index("The ledger has not been verified yet.")
    shown = text_of(client.get("/privacy/stopped").text)
    assert "1 twin is blocked now." in shown
    assert "conditions[].code name-base64 a name or part of an address, in base64" in shown
    passes(acting, twin)
    assert "is blocked" not in text_of(client.get("/privacy").text)
    assert "Each of them passed later on" in text_of(client.get("/privacy/stopped").text)


def append(site: Site, entry: dict[str, Any]) -> None:
    ledger.append(site.service._ledger, site.service.runtime.signer, entry)


def block(site: Site, twin: str) -> None:
    hits = [{"path": "conditions[].code", "rule": "name-base64"}]
    gate = {"passed": False, "searched": 40, "hits": hits}
    policy = load_policy("safe-harbor").as_reference()
    entry = {"event": "twin-blocked", "time": "2026", "twin": twin, "gate": gate}
    append(site, {**entry, "policy": policy})


def passes(site: Site, twin: str) -> None:
    gate = {"passed": True, "searched": 40, "hits": []}
    append(site, {"event": "twin-made", "time": "2026", "twin": twin, "gate": gate})


@pytest.mark.parametrize(
    ("rule", "meaning"),
    [
        ("name", "a name or part of an address"),
        ("identifier-reversed", "an identifier, id, number or address, written backwards"),
        ("date-sha256", "a date of the record, as a SHA-256 hash"),
        ("pattern-e-mail", "the form of an e-mail address"),
    ],
)
def test_a_rule_of_the_gate_in_words(rule: str, meaning: str) -> None:
    hit = stopped.hit("conditions[].code", rule)
    assert hit.meaning == meaning
    assert hit.next.endswith((".",))


# -- twins ---------------------------------------------------------------------------------------


def test_a_twin_is_found_by_the_beginning_of_its_pseudonym(
    site: Site, officer: FlaskClient
) -> None:
    twin = site.twins[PARTIAL]
    page = officer.get(f"/privacy/twins?twin={twin[:9]}").text
    assert twin in page
    assert site.twins[FULL] not in page
    assert "Nothing is like that." in officer.get("/privacy/twins?twin=zzzzzzzz").text


def test_the_proof_of_a_twin_is_checked_while_the_page_is_made(
    site: Site, officer: FlaskClient
) -> None:
    twin = site.twins[FULL]
    (entry,) = site.service.ledger(twin)
    page = officer.get(f"/privacy/twins/{twin}").text
    assert "Verified just now:" in page
    for digest in (entry["document"], entry["policy"]["digest"]):
        assert digest in page
    assert page.count("✓") == 8
    assert "✗" not in page


def test_a_changed_document_does_not_verify(acting: Site) -> None:
    twin = acting.twins[PERSON]
    with acting.service.runtime.database.write() as session:
        row = session.get(TwinRow, (twin, 1))
        assert row is not None
        row.payload += b" "
    page = text_of(acting.client(OFFICER).get(f"/privacy/twins/{twin}").text)
    assert "Something does not verify." in page
    assert "No: its digest is another one." in page
    assert "No: the signature does not belong to these bytes." in page


def test_a_changed_line_does_not_verify(acting: Site) -> None:
    from service.stores.tables import LedgerRow

    with acting.service.runtime.database.write() as session:
        row = session.get(LedgerRow, 1)
        assert row is not None
        row.line = row.line.replace(b'"event":"twin-made"', b'"event":"twin-mad3"')
    client = acting.client(OFFICER)
    page = text_of(client.get("/privacy/ledger/1").text)
    assert "No: the signature does not belong to these bytes." in page
    assert "The ledger does not verify." in text_of(_verify(client))
    assert "The ledger did not verify." in text_of(client.get("/privacy").text)


def test_what_was_done_adds_up_to_the_ledger(site: Site, officer: FlaskClient) -> None:
    entries = site.service.ledger_entries(100)
    leaves = sum(item["n"] for entry in entries for item in entry.get("counts", ()))
    assert sum(twins.sums(entries).values()) == leaves
    rows = [place for entry in entries for _, found in twins.path_rows(entry) for place in found]
    assert sum(place.count for place in rows) == leaves
    shown = re.findall(r'<strong class="number">([\d,]+)</strong>', officer.get("/privacy").text)
    assert sum(int(number.replace(",", "")) for number in shown) == leaves


def test_no_run_stands_beside_its_twin(site: Site, officer: FlaskClient) -> None:
    """An exact time beside a twin would give its dates back."""
    run = site.service.runs(1)[0]
    for path in ("/privacy/runs", f"/privacy/runs/{run.id}"):
        page = officer.get(path).text
        assert run.created.strftime("%Y-%m-%d %H:%M") in page
        assert not any(twin in page for twin in site.twins.values())
    twin = site.twins[FULL]
    for path in ("/privacy/twins", f"/privacy/twins/{twin}"):
        assert not re.search(r"20\d\d-\d\d-\d\d", text_of(officer.get(path).text)), path


@pytest.mark.parametrize(
    ("action", "amount", "text"),
    [
        ("drop", "removed", "removed"),
        ("drop:unknown-code", "removed", "removed: unknown code"),
        ("offset", "changed", "turned into days from a sealed zero"),
        ("known-code", "kept", "kept as a code we know"),
    ],
)
def test_actions_in_words(action: str, amount: str, text: str) -> None:
    from privacy.explain import amounts_to

    assert (amounts_to(action), twins.action_words(action)) == (amount, text)


# -- elements ------------------------------------------------------------------------------------


def test_an_element_is_found_and_explained(site: Site, officer: FlaskClient) -> None:
    listed = officer.get("/privacy/elements?q=patient+birth").text
    assert listed.index(">Patient.birthDate<") > 0
    page = text_of(officer.get("/privacy/elements/Patient.birthDate").text)
    assert "Type before date Type after whole number of years, at most 90" in page
    assert "45 CFR 164.514(b)(2)(i)(C): elements of dates" in page
    assert "[elements.Patient] birthDate" in page
    counted = len(site.service.ledger_entries(100))
    assert f"Patient.birthDate turned into completed years {counted} {counted}" in page


def test_policies_that_judge_alike_are_told_together(officer: FlaskClient) -> None:
    alike = text_of(officer.get("/privacy/elements/Patient.telecom").text)
    assert "Under every policy" in alike
    assert "Reason phone, fax, e-mail" in alike
    apart = text_of(officer.get("/privacy/elements/Patient.address").text)
    assert "limited-data-set" in apart
    assert "codes of country and state, five digits" in apart


def test_a_coding_is_counted_where_it_stands(officer: FlaskClient) -> None:
    page = text_of(officer.get("/privacy/elements/Observation.code.coding.code").text)
    assert "Observation.code.coding kept as a code we know" in page


def test_an_element_below_one_that_goes_as_a_whole(officer: FlaskClient) -> None:
    page = text_of(officer.get("/privacy/elements/Patient.name.family").text)
    assert "Judged at Patient.name, as a whole" in page


def test_the_nearest_names_are_offered(officer: FlaskClient) -> None:
    problem = officer.get("/privacy/elements/Observation.valueQuantty").get_json(force=True)
    assert "did you mean" in problem["detail"]


def test_every_element_there_is_has_its_page(officer: FlaskClient) -> None:
    from service.office.elements import catalogue

    paths = list(catalogue())
    assert len(paths) > 2400
    for path in paths[::97]:
        assert officer.get(f"/privacy/elements/{path}").status_code == 200, path


# -- policies ------------------------------------------------------------------------------------


def test_two_policies_compared_in_words(officer: FlaskClient) -> None:
    address = "/privacy/policies/compare?one=safe-harbor&other=limited-data-set"
    page = text_of(officer.get(address).text)
    assert "Patient.address" in page
    assert "country, state and five digits of a US ZIP code" in page
    assert "dates in files the year alone true dates" in page


def test_an_earlier_version_stays_readable_and_is_compared(acting: Site) -> None:
    from privacy.policy import digest_of, read_policy
    from service.stores.policies import PolicyStore

    table = read_policy("safe-harbor") | {"version": 0}
    table["elements"] = {**table["elements"]}
    table["elements"]["Patient"] = table["elements"]["Patient"] | {"gender": "drop: not needed"}
    PolicyStore(acting.service.runtime.database).keep(digest_of(table), "safe-harbor", 0, table)
    client, key = acting.client(OFFICER), digest_of(table)[7:23]
    assert "safe-harbor 0 (earlier)" in client.get("/privacy/policies").text
    page = text_of(client.get(f"/privacy/policies/compare?one={key}&other=safe-harbor").text)
    assert "1 difference." in page
    assert "Patient.gender left out and counted, because: not needed" in page


def test_a_kept_policy_that_was_changed_is_not_believed(acting: Site) -> None:
    from privacy.policy import read_policy
    from service.stores.policies import PolicyStore

    store = PolicyStore(acting.service.runtime.database)
    store.keep("sha256:" + "7" * 64, "safe-harbor", 9, read_policy("safe-harbor"))
    page = acting.client(OFFICER).get("/privacy/policies/" + "7" * 16)
    assert "This software can't read this version any more." in text_of(page.text).replace(
        "&#39;", "'"
    )


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("drop: [D] phone, fax, e-mail", "left out and counted, because: phone, fax, e-mail"),
        ("offset", "counted from the sealed zero of the patient's time"),
        ("not opened", "not opened"),
    ],
)
def test_a_verdict_in_words(verdict: str, words: str) -> None:
    assert policies.verdict_words(verdict) == words


def test_the_eighteen_are_all_there(officer: FlaskClient) -> None:
    page = officer.get("/privacy/identifiers").text
    assert re.findall(r'data-label="Letter">([A-R])<', page) == list("ABCDEFGHIJKLMNOPQR")


# -- ledger --------------------------------------------------------------------------------------


def _verify(client: FlaskClient) -> str:
    fields = {"csrf_token": form_token(client.get("/privacy/ledger").text)}
    answer = client.post("/privacy/ledger/verification", data=fields)
    assert answer.status_code == 200
    return answer.text


def test_the_ledger_is_verified_and_that_is_remembered(site: Site, officer: FlaskClient) -> None:
    assert "The ledger is whole." in _verify(officer)
    assert "Never yet." not in officer.get("/privacy/ledger").text
    state = site.service.ledger_state()
    assert state.verified is not None
    assert (state.verified.ok, state.verified.entries) == (True, state.entries)


def test_the_downloads_verify_offline(site: Site, officer: FlaskClient) -> None:
    keys = VerificationKeys(officer.get("/.well-known/jwks.json").get_json())
    whole = officer.get("/privacy/ledger.jsonl")
    assert whole.headers["Content-Disposition"] == 'attachment; filename="ledger.jsonl"'
    assert verify_ledger(whole.data.splitlines(), keys).problems == []
    one = officer.get("/privacy/ledger/2.jsonl")
    report = verify_ledger(one.data.splitlines(), keys, whole=False)
    assert (report.problems, report.entries) == ([], 1)


def test_a_list_has_pages(acting: Site) -> None:
    with acting.service._ledger.alone():
        for number in range(1, 61):
            append(acting, {"event": "test", "twin": f"{number:022d}", "time": "2026"})
    client = acting.client(OFFICER)
    first = text_of(client.get("/privacy/twins").text)
    assert "1 to 50 of 61" in first
    assert "Page 1 of 2" in first
    last = client.get("/privacy/twins?event=test&page=2").text
    assert "51 to 60 of 60" in text_of(last)
    assert 'href="/privacy/twins?event=test"' in last  # back to the first, the search kept
    assert "Nothing is like that." in client.get("/privacy/twins?page=99").text


# -- audit ---------------------------------------------------------------------------------------


def test_events_are_found_and_handed_out(site: Site, officer: FlaskClient) -> None:
    site.service.note_use(READER, "twin.read", site.twins[REFUSED])
    asked = f"twin={site.twins[REFUSED]}&action=twin.read&subject=key.reader"
    assert "1 to 1 of 1" in text_of(officer.get(f"/privacy/audit?{asked}").text)
    lines = [
        orjson.loads(x) for x in officer.get(f"/privacy/audit.jsonl?{asked}").data.splitlines()
    ]
    (event,) = lines
    assert (event["subject"], event["object"]) == ("key.reader", site.twins[REFUSED])
    assert event["time"].endswith("Z")
    (row,) = csv.DictReader(io.StringIO(officer.get(f"/privacy/audit.csv?{asked}").text))
    assert (row["seq"], row["action"]) == (str(event["seq"]), "twin.read")
    fhir = orjson.loads(officer.get(f"/privacy/audit.ndjson?{asked}").data)
    assert (fhir["resourceType"], fhir["id"]) == ("AuditEvent", str(event["seq"]))


def test_a_cell_that_would_be_a_formula_is_none(site: Site, officer: FlaskClient) -> None:
    site.service.note_use(EHR, "twin.read", "-" + "A" * 21)
    found = officer.get("/privacy/audit.csv?twin=-" + "A" * 21).text
    assert ",'-AAAA" in found


def test_an_export_is_itself_an_event(site: Site, officer: FlaskClient) -> None:
    officer.get("/privacy/audit.jsonl")
    officer.get("/privacy/ledger.jsonl")
    found = text_of(officer.get("/privacy/audit").text)
    assert "The audit was exported" in found
    assert "The ledger was downloaded" in found


# -- re-identification ---------------------------------------------------------------------------


@pytest.fixture
def people(acting: Site) -> Callable[[str], FlaskClient]:
    return lambda person: acting.client(OFFICER, person=person)


def post(client: FlaskClient, path: str, **fields: str) -> Any:
    token = form_token(client.get("/privacy/requests").text)
    return client.post(path, data={"csrf_token": token, **fields}, headers=HTML)


def test_two_people_find_out_who_a_twin_is_once(acting: Site, people) -> None:
    ada, ben, twin = people("ada"), people("ben"), acting.twins[PERSON]
    assert post(ada, "/privacy/requests", twin=twin, reason="PATSFTY").status_code == 303
    asked = acting.app.extensions["twinport"][1].office.requests.requests()[0].id
    own = post(ada, f"/privacy/requests/{asked}/decision", decision="approve")
    assert (own.status_code, "Somebody else has to decide" in own.text) == (409, True)
    assert "Approve" not in ada.get("/privacy/requests").text
    assert "Somebody asks who a twin is: patient safety." in ben.get("/privacy").text
    done = post(ben, f"/privacy/requests/{asked}/decision", decision="approve")
    assert (done.status_code, done.location) == (303, "/privacy/requests")
    assert "Show me the answer" not in ben.get("/privacy/requests").text
    assert post(ben, f"/privacy/requests/{asked}/answer").status_code == 409
    again = people("ada")  # another session, the same person
    assert "Your request to re-identify a twin was approved." in again.get("/privacy").text
    told = post(again, f"/privacy/requests/{asked}/answer")
    assert f"Patient/{PERSON}" in told.text
    assert told.headers["Cache-Control"] == "no-store"
    assert told.request.path == f"/privacy/requests/{asked}/answer"
    repeated = post(again, f"/privacy/requests/{asked}/answer")
    assert (repeated.status_code, PERSON in repeated.text) == (409, False)
    assert "reidentify" in {event["event"] for event in acting.service.ledger(twin)}


def test_an_answer_stands_nowhere_afterwards(acting: Site, people, capsys) -> None:
    ada, ben, twin = people("ada"), people("ben"), acting.twins[PERSON]
    post(ada, "/privacy/requests", twin=twin, reason="TREAT")
    asked = acting.app.extensions["twinport"][1].office.requests.requests()[0].id
    post(ben, f"/privacy/requests/{asked}/decision", decision="approve")
    told = post(ada, f"/privacy/requests/{asked}/answer")
    assert PERSON in told.text
    said = capsys.readouterr()
    assert PERSON not in said.out + said.err
    for path in ("/privacy", "/privacy/requests", "/privacy/audit", f"/privacy/twins/{twin}"):
        assert PERSON not in ada.get(path).text, path
    assert PERSON.encode() not in ada.get("/privacy/ledger.jsonl").data


def test_a_refusal_and_what_may_not_be_asked(acting: Site, people) -> None:
    ada, ben, twin = people("ada"), people("ben"), acting.twins[PERSON]
    for fields in ({"twin": "Miller", "reason": "TREAT"}, {"twin": twin, "reason": "CURIOUS"}):
        wrong = post(ada, "/privacy/requests", **fields)
        assert wrong.status_code == 409
        assert "Miller" not in wrong.text
    post(ada, "/privacy/requests", twin=twin, reason="TREAT")
    asked = acting.app.extensions["twinport"][1].office.requests.requests()[0].id
    assert post(ben, f"/privacy/requests/{asked}/decision", decision="maybe").status_code == 409
    post(ben, f"/privacy/requests/{asked}/decision", decision="refuse")
    assert post(ada, f"/privacy/requests/{asked}/answer").status_code == 409
    assert "1 try to re-identify somebody was refused" in ada.get("/privacy").text


def test_who_signed_in_without_a_name_looks_and_does_not_decide(acting: Site) -> None:
    nobody = acting.client(OFFICER)
    page = nobody.get("/privacy/requests").text
    assert "You can look, but not ask or decide." in page
    refused = post(nobody, "/privacy/requests", twin=acting.twins[PERSON], reason="TREAT")
    assert (refused.status_code, "twinport keys sign-in" in refused.text) == (403, True)


def test_an_erasure_takes_a_second_thought_and_leaves_a_certificate(acting: Site, people) -> None:
    ada, twin = people("ada"), acting.twins[PERSON]
    path = f"/privacy/twins/{twin}/erasure"
    assert "This cannot be undone." in ada.get(path).text
    wrong = post(ada, path, again="A" * 22)
    assert (wrong.status_code, "Nothing was erased." in wrong.text) == (409, True)
    assert post(ada, path, again=twin).location == "/privacy/erasures"
    certificates = ada.get("/privacy/erasures").text
    assert twin in certificates
    assert "Nobody can tell any more who this is" in ada.get(f"/privacy/twins/{twin}").text
    again = post(ada, path, again=twin)
    assert (again.status_code, "no way back" in again.text) == (409, True)
    assert "The ledger is whole." in _verify(ada)
