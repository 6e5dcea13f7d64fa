"""Finding out who a twin is, with two people; and making that impossible, with a certificate."""

from datetime import UTC, datetime

from flask import make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from service.auth.principals import PSEUDONYM
from service.pages.officer.frame import OFFICER, office, officer, only, page_asked
from service.pages.officer.twins import numbers_of
from service.reidentify.desk import DeskError, Person
from service.reidentify.reasons import REASONS
from service.stores.ledger_index import EntryFilter, entry_of
from service.stores.reidentify import ReidentificationState
from service.web.errors import WebError
from service.web.gate import principal

NAMELESS = (
    "Sign in with a code that was made for you: `twinport keys sign-in --role privacy-officer "
    "--person CODE`. Only so can two people be told from one."
)
CONFLICT = 409


@officer.get("/requests")
@OFFICER
def requests() -> str:
    only("twin")
    return _requests("", request.args.get("twin", ""))


@officer.post("/requests")
@OFFICER
def ask() -> Response:
    """Ask who a twin is. Another officer decides."""
    _require_person()
    twin = request.form.get("twin", "").strip()
    if not PSEUDONYM.fullmatch(twin):
        return _refused(DeskError("give the whole pseudonym of a twin, 22 letters"))
    try:
        office().requests.ask(principal(), twin, request.form.get("reason", ""))
    except DeskError as error:
        return _refused(error)
    return redirect(url_for("officer.requests"), 303)


@officer.post("/requests/<asked>/decision")
@OFFICER
def decide(asked: str) -> Response:
    """By somebody else than who asked."""
    _require_person()
    given = request.form.get("decision", "")
    if given not in {"approve", "refuse"}:
        return _refused(DeskError("choose to approve or to refuse"))
    try:
        office().requests.decide(principal(), asked, approve=given == "approve")
    except DeskError as error:
        return _refused(error)
    return redirect(url_for("officer.requests"), 303)


@officer.post("/requests/<asked>/answer")
@OFFICER
def answer(asked: str) -> Response:
    """Told once, to who asked, in the body of this answer and nowhere else."""
    _require_person()
    try:
        found: Person = office().requests.answer(principal(), asked)
    except DeskError as error:
        return _refused(error)
    return make_response(render_template("officer/answer.html", person=found))


# -- erasure ---------------------------------------------------------------------------------------


@officer.get("/erasures")
@OFFICER
def erasures() -> str:
    only()
    desk, pages = office(), page_asked(20)
    found, total = desk.index.entries(
        EntryFilter(event="erased"), limit=pages.size, offset=pages.offset
    )
    lines = desk.ledger.entries([entry.seq for entry in found])
    return render_template(
        "officer/erasures.html",
        certificates=[entry_of(line) for line in reversed(lines)],
        pages=pages.of(total),
    )


@officer.get("/twins/<pseudonym>/erasure")
@OFFICER
def erasure(pseudonym: str) -> str:
    """What erasing means, before it is done."""
    only()
    numbers_of(pseudonym)
    return _erasure(pseudonym, "")


@officer.post("/twins/<pseudonym>/erasure")
@OFFICER
def erase(pseudonym: str) -> Response:
    _require_person()
    numbers_of(pseudonym)
    if request.form.get("again", "").strip() != pseudonym:
        return _not_erased(pseudonym, "What you typed is not this twin's pseudonym.")
    try:
        office().requests.erase(principal(), pseudonym)
    except DeskError as error:
        return _not_erased(pseudonym, _sentence(error))
    return redirect(url_for("officer.erasures"), 303)


# -- pieces ----------------------------------------------------------------------------------------


def _require_person() -> None:
    if not principal().is_known:
        raise WebError("forbidden", next_step=NAMELESS.replace("`", ""))


def _requests(message: str, twin: str) -> str:
    now = datetime.now(UTC)
    return render_template(
        "officer/requests.html",
        message=message,
        twin=twin if PSEUDONYM.fullmatch(twin) else "",
        requests=[
            (one, one.state in _OPEN and one.expires <= now) for one in office().requests.requests()
        ],
        reasons=REASONS,
        me=principal().subject,
        known=principal().is_known,
        nameless=NAMELESS,
    )


_OPEN = frozenset({ReidentificationState.WAITING, ReidentificationState.APPROVED})


def _refused(error: DeskError) -> Response:
    return make_response(_requests(_sentence(error), request.form.get("twin", "")), CONFLICT)


def _not_erased(pseudonym: str, why: str) -> Response:
    return make_response(_erasure(pseudonym, f"Nothing was erased. {why}"), CONFLICT)


def _erasure(pseudonym: str, message: str) -> str:
    return render_template(
        "officer/erasure.html", pseudonym=pseudonym, message=message, known=principal().is_known,
        nameless=NAMELESS,
    )  # fmt: skip


def _sentence(error: DeskError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
