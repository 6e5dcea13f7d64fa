"""A clinician comes from the EHR to the page of one patient, and nobody else comes to any."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import orjson
import pytest
import requests
from joserfc.jwk import RSAKey
from smart_ehr import PATIENT, SECRET, Login
from smart_site import Browser, Site, environment

from service.config import load_config
from service.config.sections import Logging
from service.pipeline.runtime import open_runtime
from service.stores.audit import EVERYTHING, AuditStore
from service.web.audiences import audience_of
from service.web.logs import configure_logging

pytestmark = pytest.mark.slow


def test_from_the_chart_to_the_page_of_that_patient(browser: Browser, login: Login) -> None:
    answer = browser.through()
    assert answer.status_code == 303, answer.text
    page = browser.arrive(answer.headers["Location"])
    assert page.status_code == 200
    assert "twin" in page.text.lower()
    sent = login.authorised[-1]
    assert sent["launch"] == "opaque-1"
    assert sent["scope"].split() == ["launch", "openid", "fhirUser", "patient/Patient.r"]
    assert sent["redirect_uri"] == "https://twin.example.org/launch/callback"
    assert len(sent["state"]) >= 43
    assert PATIENT not in answer.headers["Location"]


def test_from_our_own_page(browser: Browser, login: Login) -> None:
    page = browser.start()
    assert "ehr" in page.text
    assert "other" not in page.text  # it has no client id
    answer = browser.arrive(browser.sent_back(browser.start(server="ehr")))
    assert answer.status_code == 303, answer.text
    assert "launch/patient" in login.authorised[-1]["scope"].split()


def test_the_session_is_for_that_patient_alone(site: Site, browser: Browser) -> None:
    own = browser.through().headers["Location"]
    twin = own.rpartition("/")[2]
    everybody = browser.arrive("/clinic")
    assert (everybody.status_code, everybody.headers["Location"]) == (303, own)
    client = browser.client
    assert client.get(f"/api/v1/twins/{twin}/versions").status_code == 200
    for path in (f"/clinic/twins/{'C' * 22}", f"/api/v1/twins/{'C' * 22}"):
        assert client.get(path).status_code == 404, path
    for path in (
        "/api/v1/runs",
        "/fhir/RiskAssessment",
        "/metrics",
        f"/api/v1/twins/{twin}/ledger",
    ):
        assert client.get(path).status_code == 403, path


def test_whatever_is_about_a_twin_is_named_so_that_the_gate_can_tell(site: Site) -> None:
    """The gate knows by the name of an address's part whose twin it is."""
    harmless = {"model", "model_id", "version", "concept", "name"}
    for rule in site.app.url_map.iter_rules():
        audience = audience_of(site.app.view_functions[rule.endpoint])
        bound = audience is not None and not audience.is_open and audience.admits_bound
        if bound and rule.arguments:
            assert "pseudonym" in rule.arguments or rule.arguments <= harmless, rule.rule


def test_the_same_person_is_the_same_the_next_time(site: Site, login: Login) -> None:
    for _ in range(2):
        assert site.browser().through().status_code == 303
    login.bad = {"claims": {"sub": "user-2"}}
    assert site.browser().through().status_code == 303
    login.bad = {}
    opened = [e for e in _events(site) if e.outcome == "opened:ehr"][:3]
    subjects = [event.subject for event in opened]
    assert subjects[1] == subjects[2] != subjects[0]
    assert all(subject.startswith("ehr:smart-") for subject in subjects)
    assert all(event.object for event in opened)


@pytest.mark.parametrize("how", ["public", "key"])
def test_other_ways_to_prove_who_the_program_is(login: Login, tmp_path: Path, how: str) -> None:
    file = tmp_path / "app.jwk"
    file.write_bytes(orjson.dumps(login.app_key.as_dict(private=True)))
    more = {"TWINPORT_SERVERS__EHR__LAUNCH__CLIENT_SECRET": ""}
    if how == "key":
        more["TWINPORT_SERVERS__EHR__LAUNCH__KEY_FILE"] = str(file)
    runtime = open_runtime(load_config(environment(tmp_path / "home", login, **more)))
    login.bad, login.how = {}, how
    site = Site(runtime, login)
    site.services.start()
    assert site.browser().through().status_code == 303
    published = site.app.test_client().get("/.well-known/client-jwks.json").get_json()["keys"]
    assert [key["kid"] for key in published] == (["app-1"] if how == "key" else [])
    site.services.stop()
    runtime.close()


def written(login: Login) -> dict[str, Any]:
    """The machine's results in the chart, by id."""
    found = {}
    for kind in ("RiskAssessment", "Observation"):
        asked = {"patient": PATIENT, "_count": "1000"}
        bundle = requests.get(f"{login.base}/{kind}", asked, timeout=120).json()
        found |= {e["resource"]["id"]: e["resource"] for e in bundle.get("entry", ())}
    return {name: one for name, one in found.items() if "AIAST" in str(one.get("meta"))}


def test_results_of_a_launch_name_the_encounter_it_came_from(login: Login, tmp_path: Path) -> None:
    """Told with the token; named only where the record shows it to be this patient's."""
    visits = requests.get(f"{login.base}/Encounter", {"patient": PATIENT}, timeout=120).json()
    visit = visits["entry"][0]["resource"]["id"]
    for told, named in ((visit, f"Encounter/{visit}"), ("of-somebody-else", None)):
        before = written(login)
        login.bad, login.how = {"answer": {"encounter": told}}, "secret"
        more = {  # of this patient the models make no estimate, and say so in the chart
            "TWINPORT_SERVERS__EHR__WRITE_BACK": "true",
            "TWINPORT_SERVERS__EHR__WRITE_REFUSALS": "true",
        }
        runtime = open_runtime(load_config(environment(tmp_path / told, login, **more)))
        site = Site(runtime, login)
        site.services.start()
        assert site.browser().through().status_code == 303
        site.services.stop()
        runtime.close()
        made = {name: one for name, one in written(login).items() if name not in before}
        assert made
        assert {one.get("encounter", {}).get("reference") for one in made.values()} == {named}
    login.bad = {}


# -- who is let in no further ----------------------------------------------------------------------


def refused(answer: Any, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert "MARK" not in answer.text
    assert "Location" not in answer.headers


def test_a_foreign_ehr_is_not_even_asked(browser: Browser, login: Login) -> None:
    before = len(login.asked)
    for iss in (
        "https://evil.example.org/fhir",
        f"{login.base}/x",
        f"{login.base}//",
        login.base.replace("127.0.0.1", "127.0.0.2"),
        f"{login.base}@evil.example.org",
        "https://other.example.org/r4",  # configured, and not for launches
        "",
    ):
        refused(browser.start(iss=iss, launch="x"), 400, "not known here")
    refused(browser.start(server="other"), 400, "not known here")
    refused(browser.start(server="nobody"), 400, "not known here")
    assert len(login.asked) == before
    assert browser.start(iss=f"{login.base}/", launch="x").status_code == 303  # one slash more


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "issuer"])
@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/x", "http://evil.example.org/x", "https://10.0.0.1/x", "file:///etc/passwd",
     "https://user@127.0.0.1/x", "javascript:alert(1)", 7],
)  # fmt: skip
def test_an_address_that_nobody_vouches_for_gets_no_browser_and_no_secret(
    browser: Browser, login: Login, name: str, address: object
) -> None:
    login.bad = {"configuration": {name: address}}
    refused(browser.launched(), 502, "does not say where to sign in")


def test_a_wrong_a_used_and_another_browsers_state(site: Site, browser: Browser) -> None:
    path = browser.sent_back(browser.launched())
    refused(site.browser().arrive(path), 400, "begun elsewhere")  # somebody else's browser
    refused(browser.arrive(path), 400, "begun elsewhere")  # and with that it is spent
    path = browser.sent_back(browser.launched())
    assert browser.arrive(path).status_code == 303
    refused(browser.arrive(path), 400, "begun elsewhere")
    path = browser.sent_back(browser.launched())
    wrong = {**dict(parse_qsl(urlsplit(path).query)), "state": "A" * 43}
    refused(browser.arrive(f"/launch/callback?{urlencode(wrong)}"), 400, "begun elsewhere")
    refused(browser.arrive("/launch/callback"), 400, "begun elsewhere")


def test_a_code_that_was_used_already(browser: Browser, login: Login) -> None:
    path = browser.sent_back(browser.launched())
    login.codes.clear()
    refused(browser.arrive(path), 502, "refused the sign-in")


def test_a_code_of_another_launch(browser: Browser, login: Login) -> None:
    """Injected: it belongs to another challenge."""
    stolen = parse_qs(urlsplit(browser.sent_back(browser.launched())).query)["code"][0]
    path = browser.sent_back(browser.launched())
    own = dict(parse_qsl(urlsplit(path).query))
    injected = urlencode({**own, "code": stolen})
    refused(browser.arrive(f"/launch/callback?{injected}"), 502, "refused the sign-in")


def test_an_answer_of_another_authorisation_server(browser: Browser, login: Login) -> None:
    """RFC 9207: a mix-up. The code is not sent anywhere."""
    path = browser.sent_back(browser.launched())
    codes = len(login.codes)
    refused(browser.arrive(f"{path}&iss=https://evil.example.org"), 400, "cannot be read")
    assert len(login.codes) == codes


def test_the_code_goes_to_the_endpoint_of_this_launch(browser: Browser, login: Login) -> None:
    """What the discovery document says by then does not matter any more."""
    path = browser.sent_back(browser.launched())
    login.bad = {"configuration": {"token_endpoint": "https://evil.example.org/token"}}
    assert browser.arrive(path).status_code == 303


def test_nobody_is_sent_anywhere_by_what_came_back(browser: Browser) -> None:
    path = browser.sent_back(browser.launched())
    answer = browser.arrive(f"{path}&next=https://evil.example.org&redirect_uri=//evil")
    assert answer.headers["Location"].startswith("/clinic/twins/")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ("access_denied", 403, "declined"),
        ("server_error", 502, "refused the sign-in"),
        ("MARK", 502, "refused the sign-in"),
    ],
)
def test_what_the_ehr_says_no_to(
    browser: Browser, login: Login, error: str, status: int, words: str
) -> None:
    login.bad = {"error": error}
    refused(browser.through(), status, words)


def test_an_identity_that_does_not_hold(browser: Browser, login: Login) -> None:
    """Every way of it is in test_smart_identity.py."""
    for bad in (
        {"claims": {"nonce": "another"}},
        {"claims": {"aud": "somebody-else"}},
        {"key": RSAKey.generate_key(2048)},
        {"answer": {"id_token": None}},
    ):
        login.bad = bad
        refused(browser.through(), 403, "could not be verified")
    login.bad = {"claims": {"fhirUser": "Patient/demo-015"}}
    refused(browser.through(), 403, "for clinicians")


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ({"answer": {"patient": None}}, 403),
        ({"answer": {"patient": "../../x"}}, 403),
        ({"answer": {"patient": "demo-001"}}, 403),  # there is none the EHR would show
        ({"answer": {"access_token": "of-another-server"}}, 403),
        ({"answer": {"access_token": "a\nb"}}, 502),
        ({"answer": {"access_token": None}}, 502),
        ({"answer": {"token_type": "mac"}}, 502),
        ({"hides": True}, 403),
    ],
)
def test_no_patient_that_the_ehr_shows_this_person(
    browser: Browser, login: Login, bad: dict[str, Any], status: int
) -> None:
    login.bad = bad
    answer = browser.through()
    assert answer.status_code == status, answer.text
    assert "session" not in str(answer.headers.getlist("Set-Cookie"))


def test_nothing_that_opens_a_door_is_written_anywhere(
    site: Site, browser: Browser, login: Login, capsys: pytest.CaptureFixture[str]
) -> None:
    logged = _captured()
    path = browser.sent_back(browser.launched())
    assert browser.arrive(path).status_code == 303
    login.bad = {"answer": {"patient": None}}
    browser.through()
    code = parse_qs(urlsplit(path).query)["code"][0]
    state = login.authorised[-2]["state"]
    secrets = [*login.tokens[-2:], code, state, SECRET, PATIENT, "opaque-1", "user-1"]
    home = site.runtime.config.home
    told = [logged(), str(_events(site)), *capsys.readouterr()]
    kept = b"".join(file.read_bytes() for file in home.rglob("*.db*"))
    for secret in secrets:
        assert not [text for text in told if secret in text], secret
        assert secret.encode() not in kept
    assert hashlib.sha256(state.encode()).digest() not in kept  # nor a hash that anybody can make


def _captured() -> Callable[[], str]:
    stream = io.StringIO()
    configure_logging(Logging(level="debug"), stream)
    return stream.getvalue


def _events(site: Site) -> list[Any]:
    store = AuditStore(site.runtime.database)
    found = store.search(EVERYTHING, limit=500)
    return [event for event in found if event.action == "smart-launch"]
