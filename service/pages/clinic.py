"""The clinician's pages: the list of twins, and one patient on one screen."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import redirect, render_template, url_for
from werkzeug.wrappers import Response

from service.auth import Role, Scope
from service.auth.principals import PSEUDONYM
from service.pages import assessed, disputed, lacking, model_cards, record, reviewed, signals, words
from service.pages.blueprint import pages
from service.stores.reviews import About
from service.stores.twins import TwinVersion
from service.web.audiences import closed
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import services
from twin_engine.models.registry import all_models

Json = Mapping[str, Any]
LISTED = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One twin in the list."""

    pseudonym: str
    short: str
    person: str
    version: int
    made: str
    signals: int
    complete: bool
    headline: str
    refused: bool
    past: bool
    stale: bool  # its chart holds a result that no longer does


@pages.get("/clinic")
@closed(Scope.TWINS_READ, roles=(Role.EHR,), page=True)
def clinic() -> str | Response:
    """The newest version of each twin, latest first. Who came from one chart goes to that one."""
    own = principal().twin
    if own is not None:
        return redirect(url_for("pages.clinic_twin", pseudonym=own), 303)
    runs, now = services().runs, datetime.now(UTC)
    found = [(about, runs.document(about.pseudonym)) for about in runs.newest(LISTED)]
    cards = model_cards.cards(document for _, document in found)
    hidden = _hidden(found)
    stale = {one.twin for one in runs.reviews.stale(about.pseudonym for about, _ in found)}
    rows = [row(about, document, cards, hidden, now, stale) for about, document in found]
    return render_template("clinic.html", rows=rows, limit=LISTED)


@pages.get("/clinic/twins/<pseudonym>")
@closed(Scope.TWINS_READ, roles=(Role.EHR,), page=True)
def clinic_twin(pseudonym: str) -> str:
    return _twin_page(pseudonym, None)


@pages.get("/clinic/twins/<pseudonym>/versions/<int:version>")
@closed(Scope.TWINS_READ, roles=(Role.EHR,), page=True)
def clinic_twin_version(pseudonym: str, version: int) -> str:
    return _twin_page(pseudonym, version)


def _twin_page(pseudonym: str, version: int | None) -> str:
    if not PSEUDONYM.fullmatch(pseudonym):
        raise WebError(Failure.NOT_FOUND)
    runs = services().runs
    document = runs.document(pseudonym, version)
    known = runs.versions(pseudonym)
    about = next(v for v in known if v.version == document["twin"]["version"])
    cards = model_cards.cards([document])
    runs.use(principal(), "twin.read", pseudonym)
    return render_template(
        "clinic_twin.html",
        head=record.header(document),
        newest=known[0].version,
        made=record.since(about.created, datetime.now(UTC)),
        assessments=assessed.assessments(document, cards, runs.expiries(about, document)),
        standings=standings(pseudonym, document),
        stale=stale(pseudonym),
        disputed=disputed.marks(pseudonym, document),
        lacks=lacking.lacking(document, cards),
        sections=signals.sections(document),
        set_aside=signals.unsigned_set_aside(document),
        conditions=record.conditions(document),
        medications=record.medications(document),
        procedures=record.procedures(document),
        imaging=record.imaging(document),
        allergies=record.allergies(document),
        vaccines=record.vaccines(document),
        genes=record.genes(document),
        family=record.family(document),
        answers=record.answers(document),
        encounters=record.encounters(document),
        slices=record.slices(document),
        quality=record.quality(document),
        versions=record.versions(known),
        changes=record.changes(document),
    )


@dataclass(frozen=True, slots=True)
class Outdated:
    """A result in the patient's chart that no longer holds."""

    title: str
    done: str
    """`accepted-needs-review`: it is marked; `flagged-beside`: a notice stands beside it;
    `unmarked`, `open`: nothing in the chart says so."""


def stale(pseudonym: str) -> list[Outdated]:
    models = all_models()
    found = services().runs.reviews.stale([pseudonym])
    return [
        Outdated(models[one.model].title if one.model in models else one.model, one.done)
        for one in found
    ]


@dataclass(frozen=True, slots=True)
class Stand:
    """Whether an answer waits for this person's estimate, and what was decided on it."""

    hidden: bool
    state: reviewed.State


def standings(pseudonym: str, document: Json) -> dict[str, Stand]:
    """By model, of every answer that has a number."""
    now = datetime.now(UTC)
    found = services().runs.reviews.standings([(pseudonym, document)], all_models(), principal())
    return {
        about.model: Stand(one.hidden, reviewed.state(one.decided, now))
        for about, one in found.items()
    }


def _hidden(found: Sequence[tuple[TwinVersion, Json]]) -> set[About]:
    """The answers that wait for this person's estimate."""
    documents = [(about.pseudonym, document) for about, document in found]
    standings = services().runs.reviews.standings(documents, all_models(), principal())
    return {about for about, one in standings.items() if one.hidden}


def row(
    about: TwinVersion,
    document: Json,
    cards: Mapping[str, Json],
    hidden: Collection[About],
    now: datetime,
    stale: Collection[str] = (),
) -> Row:
    head = record.header(document)
    text, refused = headline(document, cards, hidden)
    ends = services().runs.expiries(about, document)
    return Row(
        pseudonym=about.pseudonym,
        short=head.short,
        person=f"{head.sex}, {head.age}" + (f" · {head.deceased.lower()}" if head.deceased else ""),
        version=about.version,
        made=record.since(about.created, now),
        signals=len(document["signals"]),
        complete=head.complete,
        headline=text,
        refused=refused,
        past=any(end.past for end in ends.values()),
        stale=about.pseudonym in stale,
    )


def headline(
    document: Json, cards: Mapping[str, Json], hidden: Collection[About] = ()
) -> tuple[str, bool]:
    """The first risk that was given, else the first number, else why there is none."""
    given = [(r, a) for a in words.shown(document) for r in a["results"]]
    given.sort(key=lambda pair: not assessed.is_share(pair[0]))
    if given:
        result, item = given[0]
        card = cards.get(item["model"]["id"], {})
        name = words.outcome(result["outcome"], card)
        if words.is_guidance(card):
            return f"{name}: {words.band(result['category'], card)}", False
        years = f" in {result['horizonYears']:g} years" if "horizonYears" in result else ""
        if About(document["twin"]["id"], item["model"]["id"], item["snapshot"]) in hidden:
            return f"{name}{years}: your own estimate first", False
        return f"{name}{years}: {assessed.figure(result['value'], result)}", False
    refusals = [r for item in words.shown(document) for r in item["refusals"]]
    return (words.refusal(refusals[0]["reason"]) if refusals else "No model was run."), True
