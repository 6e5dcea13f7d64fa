"""Share: make a health link, see who opened it, end it. A link is shown once."""

import secrets
from datetime import UTC, datetime, timedelta

from flask import redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from service.pages.own.frame import EXPORTS, PATIENT, desk, own, own_twin, page
from service.pages.speech import text
from service.portable.errors import PortableError
from service.sharing import qr
from service.sharing.desk import Shown, Use, Wish, viewer_of
from service.web.discovery import public_base
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure

LASTS = {"day": 1, "week": 7, "month": 30, "year": 365}


@own.get("/share")
@PATIENT
def share() -> str:
    return _page("")


@own.post("/share")
@EXPORTS
def make() -> Response:
    """The answer holds the link and the passcode; nothing else ever does."""
    try:
        wish = _wish()
        made = desk().links.make(
            own_twin(), wish, public_base(), principal().role, principal().subject
        )
    except PortableError as error:
        return Response(_page(str(error)), status=409, mimetype="text/html")
    link = made.link.spelled(viewer_of(public_base()))
    drawn = Markup(qr.svg(link).decode())  # noqa: S704 - drawn by us, holds no text
    shown = page("shared", link=link, passcode=wish.passcode, qr=drawn, label=wish.label)
    return Response(shown, mimetype="text/html")


@own.get("/share/<identity>")
@PATIENT
def link(identity: str) -> str:
    """Who opened it."""
    shown = _mine(identity)
    uses = [(_moment(one.at), _outcome(one), one.recipient) for one in _uses(identity)]
    return page("link", link=shown, uses=uses, state=_state(shown), until=_until(shown))


@own.post("/share/<identity>/end")
@PATIENT
def end(identity: str) -> Response:
    if not desk().links.revoke(own_twin(), identity, principal().role, principal().subject):
        raise WebError(Failure.NOT_FOUND)
    return redirect(url_for("own.share") + "#links", 303)


def _wish() -> Wish:
    given = request.form
    lasts = LASTS.get(given.get("lasts", ""))
    if lasts is None:
        raise PortableError(text("share.choose_end"))
    passcode = f"{secrets.randbelow(10**6):06}" if given.get("passcode") == "yes" else ""
    return Wish(
        label=given.get("label", "").strip(), passcode=passcode, lasts=timedelta(days=lasts)
    )


def _page(message: str) -> str:
    links = [
        (one, _state(one), _until(one), text("share.opened", n=one.opened))
        for one in desk().links.links(own_twin())
    ]
    return page("share", links=links, message=message, lasts=LASTS)


def _mine(identity: str) -> Shown:
    found = next((one for one in desk().links.links(own_twin()) if one.id == identity), None)
    if found is None:
        raise WebError(Failure.NOT_FOUND)
    return found


def _uses(identity: str) -> list[Use]:
    return desk().links.uses(own_twin(), identity)


def _state(one: Shown) -> str:
    return text(f"share.state.{one.ended or 'open'}")


def _until(one: Shown) -> str:
    if one.ended or one.expires is None:
        return ""
    left = max(1, -(-(one.expires - datetime.now(UTC)) // timedelta(days=1)))
    return text("share.until_one") if left == 1 else text("share.until", days=left)


def _outcome(one: Use) -> str:
    return text(f"share.outcome.{one.outcome}")


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
