"""The clinician's second pages: where a value comes from, and what a model says otherwise."""

import re
from collections.abc import Mapping
from typing import Any

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from service.auth import Role, Scope
from service.auth.principals import PSEUDONYM
from service.pages import asked, disputed, explained, model_cards, record
from service.pages.blueprint import pages
from service.pages.clinic import standings
from service.web.audiences import closed
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure, Question, ServiceError
from service.web.services import services

Json = Mapping[str, Any]

LONGEST_CELL = 32
_NAME = re.compile(r"[a-z0-9-]{1,60}")
_TWIN = "/clinic/twins/<pseudonym>"


@pages.get(f"{_TWIN}/versions/<int:version>/explain/<concept>")
@closed(Scope.TWINS_READ, roles=(Role.EHR,), page=True)
def clinic_explain(pseudonym: str, version: int, concept: str) -> str:
    """Every value of one concept, back to its source."""
    _check(pseudonym, concept)
    runs = services().runs
    document = runs.document(pseudonym, version)
    found = runs.explain(document, concept)
    cards = {card["id"]: card for card in runs.models()}
    runs.use(principal(), "twin.read", pseudonym)
    return render_template(
        "clinic_explain.html",
        head=record.header(document),
        found=[explained.explained(one, document, cards) for one in found],
        disputed=disputed.marks(pseudonym, document),
    )


@pages.get(f"{_TWIN}/whatif/<model>")
@closed(Scope.TWINS_READ, roles=(Role.EHR,), page=True)
def clinic_whatif(pseudonym: str, model: str) -> tuple[str, int] | Response:
    """The form, with the values in use."""
    return _whatif_page(pseudonym, model)


@pages.post(f"{_TWIN}/whatif/<model>")
@closed(Scope.TWINS_READ, roles=(Role.EHR,), page=True)
def clinic_whatif_asked(pseudonym: str, model: str) -> tuple[str, int] | Response:
    """Values travel in the body, and the answer is not kept: loading it again asks again."""
    changes = {
        name.removeprefix("set-"): value.strip()[:LONGEST_CELL]
        for name, value in request.form.items()
        if name.startswith("set-") and value.strip()
    }
    question = Question(model, changes, request.form.get("treatment", ""))
    return _whatif_page(pseudonym, model, question)


def _whatif_page(
    pseudonym: str, model: str, question: Question | None = None
) -> tuple[str, int] | Response:
    _check(pseudonym, model)
    runs = services().runs
    document = runs.document(pseudonym)
    standing = standings(pseudonym, document).get(model)
    if standing is not None and standing.hidden:  # the answer would give the number away
        return redirect(url_for("pages.clinic_review", pseudonym=pseudonym, model=model), 303)
    offer = runs.offer(pseudonym, model)
    found, refused = _answer(pseudonym, question) if question else (None, "")
    runs.use(principal(), "whatif" if found else "twin.read", pseudonym)
    card = model_cards.cards([document]).get(model) or runs.model(model)
    page = render_template(
        "clinic_whatif.html",
        head=record.header(document),
        model=model,
        form=asked.form(
            offer, question.changes if question else {}, question.treatment if question else ""
        ),
        found=asked.asked(found, card) if found else None,
        refused=refused,
    )
    return page, 422 if refused else 200


def _answer(pseudonym: str, question: Question) -> tuple[Json | None, str]:
    """The answer, or how the question can be asked."""
    try:
        return services().runs.what_if(pseudonym, question), ""
    except ServiceError as error:
        if error.failure is not Failure.NOT_ASKABLE:
            raise
        return None, error.next_step


def _check(pseudonym: str, name: str) -> None:
    if not PSEUDONYM.fullmatch(pseudonym) or not _NAME.fullmatch(name):
        raise WebError(Failure.NOT_FOUND)
