"""The pages over HTTP, without a browser: who sees what, honest emptiness, errors as pages."""

import re
from html.parser import HTMLParser

import pyphen
import pytest
from pages_site import DIED, FULL, HTML, PARTIAL, REFUSED, Site

from service.auth import Role
from service.cli.verify import expiries
from service.pages.plainly import stays
from service.pages.printed import report
from service.stores.reviews import About, ReviewStore

OFFICER_PAGES = (
    "/privacy",
    "/privacy/twins",
    "/privacy/twins/{twin}",
    "/privacy/twins/{twin}/erasure",
    "/privacy/elements?q=birth",
    "/privacy/elements/Observation.code.coding",
    "/privacy/stopped",
    "/privacy/runs",
    "/privacy/policies",
    "/privacy/policies/safe-harbor",
    "/privacy/policies/compare?one=safe-harbor&other=relative-minutes",
    "/privacy/identifiers",
    "/privacy/requests",
    "/privacy/erasures",
    "/privacy/audit",
    "/privacy/ledger",
    "/privacy/ledger/1",
)
PAGES = {
    Role.EHR: [
        "/clinic",
        "/clinic/twins/{twin}",
        "/clinic/twins/{twin}/versions/1",
        "/clinic/twins/{twin}/versions/1/explain/systolic-bp",
        "/clinic/twins/{twin}/versions/1/explain/hypertension",
        "/clinic/twins/{twin}/versions/1/explain/gout",
        "/clinic/twins/{twin}/whatif/prevent",
    ],
    Role.PATIENT: ["/me", "/me/twin.json"],
    Role.PRIVACY_OFFICER: [*OFFICER_PAGES],
}


def signed_in(site: Site, role: Role):
    return site.patient(FULL) if role is Role.PATIENT else site.client(role)


@pytest.mark.parametrize("owner", PAGES)
@pytest.mark.parametrize("caller", list(Role))
def test_each_page_opens_for_its_role_and_for_no_other(
    site: Site, owner: Role, caller: Role
) -> None:
    client = signed_in(site, caller)
    for page in PAGES[owner]:
        answer = client.get(page.format(twin=site.twins[FULL]), headers=HTML)
        assert answer.status_code == (200 if caller is owner else 403), page


@pytest.mark.parametrize(
    ("role", "first"),
    [
        (Role.EHR, "/clinic"),
        (Role.PATIENT, "/me"),
        (Role.PRIVACY_OFFICER, "/privacy"),
        (Role.ADMIN, "/docs"),
    ],
)
def test_everybody_starts_at_the_page_of_their_role(site: Site, role: Role, first: str) -> None:
    answer = signed_in(site, role).get("/")
    assert (answer.status_code, answer.location) == (303, first)


def test_whoever_is_not_signed_in_is_sent_to_the_form(site: Site) -> None:
    answer = site.app.test_client().get("/me")
    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/me")


def test_a_patient_sees_their_own_twin_and_no_other(site: Site) -> None:
    page = site.patient(REFUSED).get("/me").text
    assert site.twins[FULL] not in page
    assert "no number" in page


def test_the_download_is_the_signed_file_byte_for_byte(site: Site) -> None:
    answer = site.patient(FULL).get("/me/twin.json")
    key = site.access.api_keys.issue(Role.EHR, label="test")
    api = site.app.test_client().get(
        f"/api/v1/twins/{site.twins[FULL]}", headers={"Authorization": f"Bearer {key.text}"}
    )
    assert answer.data == api.data
    assert answer.mimetype == "application/vnd.twinport.twin+json"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="twin.json"'


def test_every_use_is_noted_and_told_to_the_patient(site: Site) -> None:
    site.client(Role.EHR).get(f"/clinic/twins/{site.twins[PARTIAL]}")
    site.client(Role.PRIVACY_OFFICER).get(f"/privacy/twins/{site.twins[PARTIAL]}")
    patient = site.patient(PARTIAL)
    patient.get("/me/twin.json")
    told = patient.get("/me").text
    for use in ("Opened by a clinician", "Ledger read by a privacy officer", "File downloaded"):
        assert use in told


def test_a_use_is_noted_whatever_letter_the_pseudonym_starts_with(site: Site) -> None:
    from pages_site import EHR

    for twin in ("-" + "A" * 21, "_" + "A" * 21):
        site.service.note_use(EHR, "twin.read", twin)
        assert [event.object for event in site.service.uses(twin)] == [twin]


# -- honest emptiness and errors -------------------------------------------------------------------


def test_without_any_twin_the_pages_say_the_next_step(empty_site: Site) -> None:
    assert "There are no twins yet." in empty_site.client(Role.EHR).get("/clinic").text
    officer = empty_site.client(Role.PRIVACY_OFFICER)
    assert "Nothing has been done yet." in officer.get("/privacy").text
    assert "No twin has been made yet." in officer.get("/privacy/twins").text


@pytest.mark.parametrize("path", ["/clinic/twins/nothing", "/clinic/twins/" + "A" * 22])
def test_a_twin_that_is_not_there_is_a_page_for_a_browser_and_a_problem_for_a_program(
    site: Site, path: str
) -> None:
    client = site.client(Role.EHR)
    page, problem = client.get(path, headers=HTML), client.get(path)
    assert page.status_code == problem.status_code == 404
    assert page.mimetype == "text/html"
    assert "There is no such thing here" in page.text
    assert problem.mimetype == "application/problem+json"


def test_an_error_page_repeats_nothing_of_the_request(site: Site) -> None:
    page = site.client(Role.EHR).get("/clinic/<b>Miller</b>", headers=HTML).text
    assert "Miller" not in page


def test_the_api_answers_browsers_with_problems_too(site: Site) -> None:
    answer = site.client(Role.EHR).get("/api/v1/nothing", headers=HTML)
    assert answer.mimetype == "application/problem+json"


# -- every page ------------------------------------------------------------------------------------


class Checker(HTMLParser):
    """Well-formed nesting, unique ids, one h1, labelled controls, nothing inline."""

    VOID = frozenset(
        [
            "area",
            "base",
            "br",
            "col",
            "hr",
            "img",
            "input",
            "link",
            "meta",
            "path",
            "circle",
            "rect",
            "line",
        ]
    )

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(str(found["id"]))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.faults += [name for name in found if name == "style" or name.startswith("on")]
        self.faults += [tag] if tag in {"script", "style"} else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")


def every_page(site: Site) -> dict[str, str]:
    found = {"/sign-in": site.app.test_client().get("/sign-in").text}
    for patient in (FULL, PARTIAL, REFUSED, DIED):
        for role, paths in PAGES.items():
            client = site.patient(patient) if role is Role.PATIENT else site.client(role)
            for path in paths:
                answer = client.get(path.format(twin=site.twins[patient]))
                if answer.mimetype == "text/html":
                    found[f"{path} {patient}"] = answer.text
    return found


def test_every_page_is_well_formed_and_has_nothing_inline(site: Site) -> None:
    for path, text in every_page(site).items():
        checker = Checker()
        checker.feed(text)
        assert not checker.faults, path
        assert not checker.open, path
        assert len(checker.ids) == len(set(checker.ids)), path
        assert checker.headings[0] == 1, path
        steps = zip(checker.headings, checker.headings[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps), path


# -- reading level ---------------------------------------------------------------------------------


HYPHENS = pyphen.Pyphen(lang="en_US")
ALARMS = ("should", "must", "normal", "abnormal", "danger", "warning", "!", "elevated")


def syllables(word: str) -> int:
    """The larger of two estimates: groups of vowels, and places where the word may be broken."""
    groups = len(re.findall(r"[aeiouy]+", word.lower().removesuffix("e")))
    return max(1, groups, len(HYPHENS.positions(word)) + 1)


def grade(text: str) -> float:
    """Flesch and Kincaid's grade: 0.39 words per sentence + 11.8 syllables per word - 15.59
    (Kincaid 1975, Research Branch Report 8-75)."""
    sentences = [s for s in re.split(r"[.?!:]\s", text) if len(s.split()) > 2]
    found = [w for s in sentences for w in re.findall(r"[A-Za-z']+", s)]
    return (
        0.39 * len(found) / len(sentences) + 11.8 * sum(map(syllables, found)) / len(found) - 15.59
    )


def prose(page: str) -> str:
    """The paragraphs of the main part, without what only machines read."""
    main = page[page.index("<main") : page.index("</main>")]
    paragraphs = re.findall(r"<p[^>]*>(.*?)</p>", main, re.S)
    return " ".join(re.sub(r"<[^>]+>", "", p).strip() for p in paragraphs)


@pytest.mark.parametrize("patient", [FULL, PARTIAL, REFUSED, DIED])
def test_the_patients_page_reads_at_grade_eight_or_below(site: Site, patient: str) -> None:
    text = prose(site.patient(patient).get("/me").text)
    assert grade(text) <= 8, text


def test_the_patients_page_gives_no_advice_and_raises_no_alarm(site: Site) -> None:
    for patient in (FULL, PARTIAL, REFUSED):
        text = prose(site.patient(patient).get("/me").text).lower()
        for word in ALARMS:
            assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text), word


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("unmarked", "no longer holds and does not say so"),
        ("flagged-beside", "no longer holds; a notice beside it says so"),
        ("accepted-needs-review", "rests on an input that no longer stands"),
    ],
)
def test_what_no_longer_holds_in_the_chart_stands_above_everything_else(
    acting: Site, detail: str, said: str
) -> None:
    """Until somebody has dealt with it there."""
    (twin,) = acting.twins.values()
    runtime, client = acting.service.runtime, acting.client(Role.EHR)
    ReviewStore(runtime.database).note_keys({About(twin, "prevent", "sha256:1"): "key"})
    runtime.outbox.enqueue("key.document", b"")
    runtime.outbox.close("key.document", detail)
    page, listed = client.get(f"/clinic/twins/{twin}").text, client.get("/clinic").text
    assert said in page
    assert page.index(said) < page.index('id="assessments"')
    assert "review in the chart" in listed
    runtime.outbox.close("key.document", "reviewed")
    assert said not in client.get(f"/clinic/twins/{twin}").text
    assert "review in the chart" not in client.get("/clinic").text


def test_a_summary_on_paper_says_how_long_an_answer_holds(site: Site) -> None:
    document = site.service.document(site.twins[FULL])
    cards = site.service.runtime.versions.cards(document)
    for days, said in ((0, "answer.stays"), (4000, "answer.past")):
        ends = expiries(document, days)
        told = [stays(end) for end in ends.values()]
        printed = str(report(document, cards, "sha256:0", ends))
        assert told
        assert all(text in printed for text in told), said
    assert all(text not in str(report(document, cards, "sha256:0")) for text in told)
