"""The patient's pages over HTTP: dispute, consent, share, take along, erasure; whose they are."""

import html
import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from joserfc.jwk import OKPKey
from pages_site import PERSON, RECORD, Site, form_token
from test_pages_http import ALARMS, grade

from mappings import vocabulary
from service.auth import Role
from service.fhir.record import PatientRecord
from service.pages import speech, words
from service.pipeline.errors import RunError
from service.pipeline.make import Wish
from service.portable.locked import open_addressed, unlock
from service.sharing.link import read
from service.stores.audit import AuditFilter, AuditStore

PAGES = ["/me/record", "/me/record/systolic-bp", "/me/uses", "/me/consent", "/me/take", "/me/share"]
HREF = re.compile(r'href="(/me/wrong\?[^"]+)"')


@pytest.fixture
def twin(acting: Site) -> str:
    return acting.twins[PERSON]


@pytest.fixture
def patient(acting: Site) -> FlaskClient:
    return acting.patient(PERSON)


@pytest.fixture
def clinician(acting: Site) -> FlaskClient:
    return acting.client(Role.EHR)


def send(client: FlaskClient, path: str, page: str = "/me/record", **form: str):
    token = form_token(client.get(page).text)
    return client.post(path, data={"csrf_token": token, **form})


def text_of(page: str) -> str:
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def place(client: FlaskClient, page: str = "/me/record/systolic-bp") -> dict[str, str]:
    found = HREF.search(client.get(page).text)
    assert found
    pairs = found[1].partition("?")[2].replace("&amp;", "&").split("&")
    return dict(pair.split("=") for pair in pairs)


def dispute(client: FlaskClient, reason: str = "wrong-value"):
    return send(client, "/me/wrong", reason=reason, **place(client))


def again(acting: Site, *resources: dict, purpose: str = "care"):
    """Another run of the same patient, over a record that may have changed."""
    record = PatientRecord(PERSON, "urn:test", list(resources), {"basis": "bundle", "slices": []})
    wish = replace(Wish("safe-harbor", (), "run"), purpose=purpose)
    return acting.service.runtime.maker.make(record, wish)


def events(acting: Site, action: str) -> list[str]:
    found = AuditStore(acting.service.runtime.database).search(AuditFilter(action=action))
    return [event.outcome for event in found]


# -- whose they are --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_the_patients_alone(acting: Site, patient: FlaskClient, path: str) -> None:
    assert patient.get(path).status_code == 200
    assert acting.client(Role.EHR).get(path).status_code == 403
    assert acting.app.test_client().get(path).status_code == 303


@pytest.mark.parametrize(
    "path",
    [
        "/me/record/no-such-thing",
        "/me/record/%3Cscript%3E",
        "/me/wrong?source=a&part=signals&name=systolic-bp",
        "/me/wrong?source=a&part=%2e%2e&name=",
        "/me/wrong",
        "/me/share/nothing",
    ],
)
def test_what_is_not_there_is_not_found(patient: FlaskClient, path: str) -> None:
    assert patient.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/me/wrong", "/me/consent", "/me/take", "/me/share", "/me/erasure"]
)
def test_every_form_needs_the_token_of_its_page(patient: FlaskClient, path: str) -> None:
    assert patient.post(path).status_code == 403


# -- this is wrong ---------------------------------------------------------------------------------


def test_a_dispute_is_marked_at_once_on_both_pages(
    patient: FlaskClient, clinician: FlaskClient, twin: str
) -> None:
    assert "disputed by the patient" not in clinician.get(f"/clinic/twins/{twin}").text.lower()
    answer = dispute(patient)
    assert (answer.status_code, answer.location) == (303, "/me/record#disputes")
    mine = text_of(patient.get("/me/record").text)
    assert "It says: 142 mmHg" in mine
    assert "You said: the value is wrong." in mine
    theirs = text_of(clinician.get(f"/clinic/twins/{twin}").text)
    assert "Disputed by the patient: the value is wrong" in theirs
    explained = clinician.get(f"/clinic/twins/{twin}/versions/1/explain/systolic-bp").text
    assert "disputed by the patient" in explained
    assert "The patient says the value is wrong" in text_of(explained)


def test_a_correction_at_the_source_resolves_it_and_both_are_shown(
    acting: Site, patient: FlaskClient, clinician: FlaskClient, twin: str
) -> None:
    dispute(patient)
    amended = {**RECORD[1], "status": "amended", "valueQuantity": {
        "value": 128, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}}  # fmt: skip
    assert again(acting, RECORD[0], amended).twin.version == 2
    mine = text_of(patient.get("/me/record").text)
    assert "It said 142 mmHg" in mine
    assert "Now it says 128 mmHg" in mine
    assert "Disputed by the patient" not in text_of(clinician.get(f"/clinic/twins/{twin}").text)
    # The earlier version stays marked: there it is still what the patient said was wrong.
    earlier = text_of(clinician.get(f"/clinic/twins/{twin}/versions/1").text)
    assert "Disputed by the patient: the value is wrong" in earlier


def test_an_entry_that_is_gone_from_the_source_is_told_so(
    acting: Site, patient: FlaskClient
) -> None:
    dispute(patient)
    again(acting, RECORD[0])
    assert "It is gone from your record. It said 142 mmHg" in text_of(
        patient.get("/me/record").text
    )


def test_a_dispute_is_taken_back_once(
    acting: Site, patient: FlaskClient, clinician: FlaskClient, twin: str
) -> None:
    dispute(patient)
    (one,) = acting.app.extensions["twinport"][1].patient.disputes.of(twin)
    path = f"/me/wrong/{one.dispute.id}/back"
    assert send(patient, path).status_code == 303
    assert send(patient, path).status_code == 404
    assert "Disputed by the patient" not in text_of(clinician.get(f"/clinic/twins/{twin}").text)
    assert events(acting, "dispute") == ["wrong-value"]
    assert events(acting, "dispute-taken-back") == ["done"]


def test_programs_read_what_is_disputed(
    patient: FlaskClient, clinician: FlaskClient, twin: str
) -> None:
    dispute(patient)
    (one,) = clinician.get(f"/api/v1/twins/{twin}/disputes").get_json()["items"]
    assert (one["name"], one["reason"], one["state"]) == ("systolic-bp", "wrong-value", "open")
    assert "142" not in str(one)


def test_disputing_twice_is_one_dispute(patient: FlaskClient, clinician: FlaskClient) -> None:
    where = place(patient)
    send(patient, "/me/wrong", reason="wrong-value", **where)
    send(patient, "/me/wrong", reason="not-me", **where)
    page = text_of(patient.get("/me/record").text)
    assert page.count("It says: 142 mmHg") == 1
    assert "You said: this is not about me." in page


def test_what_cannot_be_disputed_is_told(patient: FlaskClient) -> None:
    answer = dispute(patient, "because")
    assert answer.status_code == 409
    assert "Choose what is wrong with it." in text_of(answer.text)


# -- consent ---------------------------------------------------------------------------------------


def test_research_needs_a_yes_and_care_ends_with_a_no(acting: Site, patient: FlaskClient) -> None:
    with pytest.raises(RunError, match="has not allowed use for research") as refused:
        again(acting, *RECORD, purpose="research")
    assert refused.value.code == "not-consented"
    send(patient, "/me/consent", purpose="research", answer="yes")
    again(acting, *RECORD, purpose="research")
    send(patient, "/me/consent", purpose="care", answer="no")
    with pytest.raises(RunError, match="has not allowed use for care"):
        again(acting, *RECORD)
    assert "not-consented" in events(acting, "run")
    assert events(acting, "consent") == ["refused", "allowed"]


def test_a_decision_holds_for_a_later_twin_under_another_policy(
    acting: Site, patient: FlaskClient
) -> None:
    again(acting, *RECORD)  # from its next run on it is known whose the twin is
    send(patient, "/me/consent", purpose="care", answer="no")
    record = PatientRecord(PERSON, "urn:test", list(RECORD), {"basis": "bundle", "slices": []})
    with pytest.raises(RunError, match="has not allowed"):
        acting.service.runtime.maker.make(record, Wish("date-shift", (), "run"))


def test_the_page_says_what_holds(patient: FlaskClient) -> None:
    before = text_of(patient.get("/me/consent").text)
    assert before.count("You have not said anything yet.") == 3
    send(patient, "/me/consent", purpose="quality", answer="yes")
    after = text_of(patient.get("/me/consent").text)
    assert after.count("You have not said anything yet.") == 2
    assert "You said so on" in after
    assert send(patient, "/me/consent", purpose="marketing", answer="yes").status_code == 422


def test_a_twin_is_handed_out_for_what_the_patient_allowed(
    acting: Site, patient: FlaskClient, clinician: FlaskClient, twin: str
) -> None:
    path = f"/api/v1/twins/{twin}"
    assert clinician.get(path).status_code == 200
    refused = clinician.get(f"{path}?purpose=research")
    assert refused.status_code == 403
    assert refused.get_json()["type"].endswith("#problem-not-consented")
    send(patient, "/me/consent", purpose="research", answer="yes")
    assert clinician.get(f"{path}?purpose=research").status_code == 200
    send(patient, "/me/consent", purpose="care", answer="no")
    assert clinician.get(path).status_code == 403
    assert patient.get(path).status_code == 200
    for address in (
        *(f"{path}/assessments", f"/clinic/twins/{twin}", f"/clinic/twins/{twin}/versions/1"),
        f"/clinic/twins/{twin}/versions/1/explain/systolic-bp",
    ):
        assert clinician.get(address).status_code == 403, address
    assert patient.get(f"{path}/assessments").status_code == 200
    page = text_of(patient.get("/me/uses").text)
    assert "(refused: you have not allowed it) research" in page
    assert clinician.get(f"{path}?purpose=marketing").status_code == 422


# -- share -----------------------------------------------------------------------------------------


def share(client: FlaskClient, **form: str) -> str:
    answer = send(client, "/me/share", "/me/share", **({"lasts": "week"} | form))
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_link_is_shown_once_and_opens_until_it_is_ended(
    acting: Site, patient: FlaskClient
) -> None:
    page = share(patient, label="Second opinion", passcode="yes")
    spelled = re.search(r'id="link"[^>]*>([^<]+)<', page)
    passcode = re.search(r'id="passcode">(\d{6})<', page)
    assert spelled
    assert passcode
    link = read(spelled[1])
    assert link.label == "Second opinion"
    later = patient.get("/me/share").text
    assert spelled[1] not in later
    assert passcode[1] not in later
    assert "Second opinion" in text_of(later)
    desk = acting.app.extensions["twinport"][1].patient.links
    token = link.url.rpartition("/")[2]
    assert desk.ask(token, "Dr Example", passcode[1]).link is not None
    (one,) = desk.links(acting.twins[PERSON])
    assert "Dr Example" in text_of(patient.get(f"/me/share/{one.id}").text)
    assert send(patient, f"/me/share/{one.id}/end", "/me/share").status_code == 303
    assert desk.ask(token, "Dr Example", passcode[1]).link is None
    assert "ended by you" in text_of(patient.get("/me/share").text)
    assert send(patient, "/me/share/nothing/end", "/me/share").status_code == 404


def test_a_link_needs_an_end(patient: FlaskClient) -> None:
    answer = send(patient, "/me/share", "/me/share", lasts="forever")
    assert answer.status_code == 409
    assert "Choose how long it lasts." in text_of(answer.text)


# -- take along ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "name", "begins"),
    [
        ("twin", "twin.json", b"{"),
        ("summary", "summary.json", b"{"),
        ("package", "record.sphr", b"PK"),
        ("paper", "summary.pdf", b"%PDF"),
        ("everything", "everything.zip", b"PK"),
    ],
)
def test_every_form_is_there(patient: FlaskClient, form: str, name: str, begins: bytes) -> None:
    answer = send(patient, "/me/take", form=form)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.data.startswith(begins)


def test_a_locked_file_opens_with_its_passphrase(acting: Site, patient: FlaskClient) -> None:
    words = "correct horse battery"
    answer = send(patient, "/me/take", form="twin", lock="words", passphrase=words)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="twin.json.jwe"'
    opened = unlock(answer.text, words)
    assert opened.content == acting.service.twin(acting.twins[PERSON])
    short = send(patient, "/me/take", form="twin", lock="words", passphrase="short")
    assert short.status_code == 409
    assert "Take a passphrase of 12 characters or more." in text_of(short.text)
    assert orjson.loads(opened.content)["twin"]


def test_a_file_for_one_receiver_opens_with_their_key_alone(
    acting: Site, patient: FlaskClient
) -> None:
    private = OKPKey.generate_key("X25519", private=True)
    public = orjson.dumps(private.as_dict(private=False)).decode()
    answer = send(patient, "/me/take", form="twin", lock="key", key=public)
    opened = open_addressed(answer.text, private.as_dict(private=True))
    assert opened.content == acting.service.twin(acting.twins[PERSON])
    as_set = send(patient, "/me/take", form="twin", lock="key", key=f'{{"keys":[{public}]}}')
    assert as_set.text.count(".") == 4


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("", "can't be read"),
        ("[" * 9000, "can't be read"),
        ('{"keys":[]}', "can't be read"),
        ('{"kty":"OKP","kty":"EC"}', "can't be read"),
        ('{"kty":"oct","k":"AAAA"}', "of curve P-256 or X25519"),
        ('{"kty":"OKP","crv":"X25519","x":"AA","d":"AA"}', "private key"),
        ('{"kty":"OKP","crv":"X25519","x":"!"}', "not a JWK that can be used"),
    ],
)
def test_what_is_no_receivers_key_is_told(patient: FlaskClient, key: str, told: str) -> None:
    answer = send(patient, "/me/take", form="twin", lock="key", key=key)
    assert answer.status_code == 409
    assert told in html.unescape(text_of(answer.text))


def test_asking_to_be_erased_reaches_the_officer(acting: Site, patient: FlaskClient) -> None:
    share(patient)
    page = text_of(patient.get("/me/take").text)
    assert "Your one open share ends." in page
    assert "What we cannot call back:" in page
    assert send(patient, "/me/erasure").status_code == 409
    assert "You have asked to be erased." in text_of(send(patient, "/me/erasure", sure="yes").text)
    officer = acting.client(Role.PRIVACY_OFFICER, person="ada")
    first = text_of(officer.get("/privacy").text)
    assert "A patient asks to be erased." in first


# -- who used it -----------------------------------------------------------------------------------


def test_who_used_it_when_and_what_for(
    acting: Site, patient: FlaskClient, clinician: FlaskClient, twin: str
) -> None:
    clinician.get(f"/clinic/twins/{twin}")
    page = text_of(patient.get("/me/uses").text)
    assert "Clinician Opened by a clinician care" in page


# -- words -----------------------------------------------------------------------------------------


def sentences(node: dict, before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, inside in node.items():
        key = f"{before}{name}"
        found |= sentences(inside, f"{key}.") if isinstance(inside, dict) else {key: inside}
    return found


def test_every_sentence_is_asked_for_and_every_one_asked_for_is_there() -> None:
    """A key may be put together: then its beginning stands in the page."""
    written = sources()
    known = sentences(dict(speech.languages()["en"]))
    asked = re.findall(r"\b(?:t|strong|text|counted)\(f?['\"]([a-z_.0-9-]+)", written)
    for key in asked:
        assert key in known or any(one.startswith(key) for one in known), key
    quoted = set(re.findall(r"['\"]([a-z]+\.[a-z_.0-9-]*)", written))
    beginnings = tuple(one for one in quoted if one.endswith((".", "_")))
    for key in known:
        bare = key.removesuffix("_one")
        assert {key, bare} & quoted or key.startswith(beginnings), key


def sources() -> str:
    folder = files("service.pages")
    held = [*(folder / "templates" / "own").iterdir(), *(folder / "own").iterdir()]
    held += [folder / "templates" / "me.html"]
    held += [folder / f"{name}.py" for name in ("me", "plainly", "record", "words")]
    return " ".join(one.read_text() for one in held if one.name.endswith((".html", ".py")))


@pytest.mark.parametrize("language", sorted(speech.languages()))
def test_each_language_fills_in_what_the_first_does(language: str) -> None:
    first, other = (sentences(dict(speech.languages()[one])) for one in ("en", language))
    for key, told in other.items():
        if not key.startswith("words."):
            assert key in first, key
            assert set(re.findall(r"{(\w+)}", told)) <= set(re.findall(r"{(\w+)}", first[key]))
            assert told.count("*") == first[key].count("*"), key
    spoken = {key for key in other if not key.startswith("words.")}
    assert spoken == first.keys(), "every sentence exists in every language"


def pseudo(node: Any, key: str = "") -> Any:
    """A language in which every sentence shows its edges."""
    if isinstance(node, dict):
        return {name: pseudo(inside, f"{key}{name}.") for name, inside in node.items()}
    return f"⟦{node}⟧"


def named_in_words() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for (kind, code), one in words.WORDS.items():
        found.setdefault(kind, {})[code] = f"⟦{one.plain or one.label}⟧"
    found["concept"] = {one.id: f"⟦{one.label}⟧" for one in vocabulary.concepts()}
    found["role"] = {role: f"⟦{name}⟧" for role, name in words.ROLES.items()}
    return found


@pytest.mark.parametrize("path", ["/me", *PAGES])
def test_another_language_reaches_every_sentence_of_the_page(
    monkeypatch: pytest.MonkeyPatch, patient: FlaskClient, path: str
) -> None:
    """What is left outside the edges is what no catalogue holds: numbers, units, commands."""
    english = speech.languages()["en"]
    other = pseudo(english) | {"words": named_in_words()}
    monkeypatch.setattr(speech, "languages", lambda: {"en": english, "de": other})
    page = patient.get(path, headers={"Accept-Language": "de"}).text
    assert '<html lang="de">' in page
    rest = text_of(re.sub(r"(?s)<(code|textarea|svg|select).*?</\1>", " ", page))
    while "⟦" in rest:
        rest = re.sub(r"⟦[^⟦⟧]*⟧", " ", rest)
    rest = re.sub(r"\bmmHg\b|\bUTC\b|[a-z0-9]{5}(-[a-z0-9]{5}){4}", " ", rest)
    assert not re.findall(r"[A-Za-z]{2,}", rest), rest
    clinic = patient.get("/", headers={"Accept-Language": "de"}).text
    assert "⟦" not in clinic


def test_another_language_falls_back_sentence_by_sentence(
    monkeypatch: pytest.MonkeyPatch, patient: FlaskClient
) -> None:
    both = {**speech.languages(), "de": {"uses": {"title": "Wer ihn benutzt hat"}}}
    monkeypatch.setattr(speech, "languages", lambda: both)
    page = patient.get("/me/uses", headers={"Accept-Language": "de"}).text
    assert "Wer ihn benutzt hat" in page
    assert "Nobody can change this list." in page


@pytest.mark.parametrize("part", sorted(speech.languages()["en"]))
def test_each_page_reads_at_grade_eight_or_below(part: str) -> None:
    found = sentences(dict(speech.languages()["en"][part])).values()
    told = " ".join(one for one in found if one.endswith((".", "?")))
    assert not told or grade(f"{told} ") <= 8, told


def test_no_page_gives_advice_or_raises_alarm() -> None:
    text = " ".join(sentences(dict(speech.languages()["en"])).values()).lower()
    for word in ALARMS:
        assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text), word
