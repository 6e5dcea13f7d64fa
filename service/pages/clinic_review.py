"""The cognitive pause: an own estimate, then the number with its reasons, then a decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from service.auth import Role, Scope
from service.auth.principals import PSEUDONYM
from service.pages import assessed, lacking, record, reviewed, words
from service.pages.blueprint import pages
from service.review.agreement import headline
from service.review.chart import Outcome
from service.review.desk import Asked, ReviewError, Standing
from service.stores.reviews import Decision
from service.web.audiences import closed
from service.web.errors import KINDS, WebError
from service.web.gate import principal
from service.web.ports import Expiry, Failure
from service.web.services import services
from twin_engine.models.registry import all_models

Json = Mapping[str, Any]

_ADDRESS = "/clinic/twins/<pseudonym>/review/<model>"
_CLINICIAN = closed(Scope.TWINS_READ, roles=(Role.EHR,), page=True)


@dataclass(frozen=True)
class Case:
    """One answer of one twin's newest version, and where it stands for this person."""

    document: Json
    asked: Asked
    end: Expiry | None
    card: Json

    @property
    def result(self) -> Json:
        return headline(self.asked.assessment, self.asked.model)

    @property
    def standing(self) -> Standing:
        return services().runs.reviews.standing(self.asked, principal())


@pages.get(_ADDRESS)
@_CLINICIAN
def clinic_review(pseudonym: str, model: str) -> str:
    case = _case(pseudonym, model)
    services().runs.reviews.open(case.asked, principal())
    services().runs.use(principal(), "twin.read", pseudonym)
    return _page(case)


@pages.post(f"{_ADDRESS}/estimate")
@_CLINICIAN
def clinic_review_estimate(pseudonym: str, model: str) -> Response | tuple[str, int]:
    """Number or none; from then on the result is shown to this person."""
    case = _case(pseudonym, model)
    if _moved_on(case):
        return _refused(case, "changed-meanwhile", "The record changed: this is the new result.")
    given = None
    if "unsure" not in request.form:
        try:
            given = reviewed.parsed(request.form.get("estimate", ""), case.result)
        except WebError as error:
            return _refused(case, error.code, error.next_step)
    services().runs.reviews.estimate(case.asked, principal(), given)
    return redirect(url_for("pages.clinic_review", pseudonym=pseudonym, model=model), 303)


@pages.post(f"{_ADDRESS}/decision")
@_CLINICIAN
def clinic_review_decision(pseudonym: str, model: str) -> Response | tuple[str, int]:
    case = _case(pseudonym, model)
    if _moved_on(case):
        return _refused(case, "changed-meanwhile", "The record changed: this is the new result.")
    try:
        outcome = services().runs.reviews.decide(case.asked, principal(), **_decision(case))
    except (ReviewError, WebError) as error:
        return _refused(case, error.code, error.next_step)
    if outcome is Outcome.CHANGED:
        return _refused(case, "changed-meanwhile")
    return redirect(url_for("pages.clinic_review", pseudonym=pseudonym, model=model), 303)


def _decision(case: Case) -> dict[str, Any]:
    """Each decision has a form of its own: Enter in one can't send the other."""
    form = request.form
    try:
        decision = Decision(form.get("decision", ""))
    except ValueError:
        raise WebError("malformed") from None
    return {
        "decision": decision,
        "reason": form.get("reason") or None,
        "own": reviewed.optional(form.get("own", ""), case.result),
        "comment": form.get("comment", ""),
    }


def _case(pseudonym: str, model: str) -> Case:
    if not PSEUDONYM.fullmatch(pseudonym) or model not in all_models():
        raise WebError(Failure.NOT_FOUND)
    runs = services().runs
    document = runs.document(pseudonym)
    ends = runs.expiries(runs.versions(pseudonym)[0], document)
    own = (item for item in words.shown(document) if item["model"]["id"] == model)
    item = next((item for item in own if item["results"]), None)
    if item is None:
        raise WebError(Failure.NOT_FOUND)
    end = ends.get(model)
    asked = Asked(pseudonym, item, all_models()[model], bool(end and end.past))
    return Case(document, asked, end, runs.model(model, item["model"]["version"]))


def _moved_on(case: Case) -> bool:
    """Whether the form speaks of another snapshot than the newest."""
    return bool(request.form.get("snapshot") != case.asked.assessment["snapshot"])


def _refused(case: Case, code: str, step: str = "") -> tuple[str, int]:
    kind = KINDS[code]
    return _page(case, f"{kind.title}. {step or kind.next_step}"), kind.status


def _page(case: Case, problem: str = "") -> str:
    standing = case.standing
    item, card = case.asked.assessment, case.card
    mine = standing.mine
    return render_template(
        "clinic_review.html",
        head=record.header(case.document),
        problem=problem,
        model=case.asked.model.id,
        snapshot=item["snapshot"],
        hidden=standing.hidden,
        question=reviewed.question(case.result, card),
        view=assessed.assessment(item, case.document, card, case.end),
        lacks=lacking.of_one(item, case.document, card),
        state=reviewed.state(standing.decided, datetime.now(UTC)),
        estimate=reviewed.estimate(mine, case.result),
        agreement=reviewed.agreement(mine),
        differs=reviewed.differs(mine),
        accept_reasons=reviewed.reasons(Decision.ACCEPTED),
        override_reasons=reviewed.reasons(Decision.OVERRIDDEN),
        in_chart=services().runs.reviews.in_a_chart(case.asked.about),
        known=principal().is_known,
    )
