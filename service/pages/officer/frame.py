"""What the console's pages share: who they are for, their navigation, pages of lists, filters."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, request, url_for

from service.auth import Role, Scope
from service.office import Office
from service.pages import words
from service.web.audiences import closed
from service.web.errors import Fault, WebError
from service.web.gate import principal
from service.web.services import services

officer = Blueprint("officer", __name__, url_prefix="/privacy")
OFFICER = closed(Scope.LEDGER_READ, roles=(Role.PRIVACY_OFFICER,), page=True)
PER_PAGE = 50
LAST_PAGE = 1_000_000

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("", (("officer.overview", "Overview"),)),
    (
        "What was done",
        (
            ("officer.twins", "Twins and proofs"),
            ("officer.elements", "Elements"),
            ("officer.stopped", "Stopped"),
            ("officer.runs", "Runs"),
        ),
    ),
    (
        "Rules",
        (
            ("officer.policies", "Policies"),
            ("officer.identifiers", "The 18 identifiers"),
        ),
    ),
    ("Risk", (("officer.risk", "Risk, measured"),)),
    (
        "Access",
        (
            ("officer.requests", "Re-identification"),
            ("officer.erasures", "Erasures"),
            ("officer.audit", "Audit"),
        ),
    ),
    ("Proof", (("officer.ledger", "Ledger and keys"), ("officer.reports", "Reports"))),
)


@dataclass(frozen=True, slots=True)
class Item:
    label: str
    url: str
    current: bool


@officer.context_processor
def _navigation() -> dict[str, Any]:
    return {
        "sections": [
            (heading, [_item(endpoint, label) for endpoint, label in entries])
            for heading, entries in SECTIONS
        ],
        "moment": moment,
        "number": "{:,}".format,
        "counted": words.counted,
    }


@officer.app_template_filter("event_words")
def event_words(event: str) -> str:
    return words.word("event", event)


def _item(endpoint: str, label: str) -> Item:
    url = url_for(endpoint)
    below = request.path.startswith(f"{url}/") and endpoint != "officer.overview"
    return Item(label, url, request.path == url or below)


def office() -> Office:
    found = services().office
    assert found is not None, "the console is served together with its office"
    return found


def note(action: str, about: str | None = None, outcome: str = "done") -> None:
    """What the officer did is in the audit like what anybody did."""
    caller = principal()
    office().audit.record(
        role=caller.role, subject=caller.subject, action=action, outcome=outcome, object=about
    )


def moment(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# -- what the address may hold -------------------------------------------------------------------


def wrong(name: str, what: str) -> WebError:
    return WebError("invalid", faults=[Fault(f"/query/{name}", what)])


def only(*names: str) -> None:
    """A parameter nobody reads is a mistake that would look like an empty result."""
    surplus = set(request.args) - {*names, "page"}
    if surplus:
        raise wrong("?", f"Not known here. Known: {', '.join(sorted(names)) or 'page'}.")


def choice(name: str, allowed: Collection[str]) -> str | None:
    """One of a list, or nothing."""
    given = request.args.get(name, "")
    if given and given not in allowed:
        raise wrong(name, "Not one of those offered.")
    return given or None


def matching(name: str, pattern: str, what: str) -> str | None:
    given = request.args.get(name, "").strip()
    if given and not re.fullmatch(pattern, given):
        raise wrong(name, what)
    return given or None


def day(name: str) -> date | None:
    given = request.args.get(name, "").strip()
    try:
        return date.fromisoformat(given) if given else None
    except ValueError:
        raise wrong(name, "Give a day as YYYY-MM-DD.") from None


def midnight(at: date | None, *, after: bool = False) -> datetime | None:
    """The first moment of a day (UTC), or of the day after it."""
    if at is None:
        return None
    try:
        return datetime.combine(at + timedelta(days=1 if after else 0), time(), UTC)
    except OverflowError:
        raise wrong("to", "Give a day that has another one after it.") from None


# -- pages of a list -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pages:
    """Where in a list the reader is."""

    number: int
    total: int = 0
    size: int = PER_PAGE

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    @property
    def last(self) -> int:
        return max(1, -(-self.total // self.size))

    @property
    def first_shown(self) -> int:
        return min(self.offset + 1, self.total)

    @property
    def last_shown(self) -> int:
        return min(self.offset + self.size, self.total)

    def of(self, total: int) -> "Pages":
        return Pages(self.number, total, self.size)

    def url(self, number: int) -> str:
        """The same list, another page of it."""
        kept: Mapping[str, str] = {k: v for k, v in request.args.items() if v and k != "page"}
        values = {**(request.view_args or {}), **kept}
        if number > 1:
            values["page"] = number
        return url_for(str(request.endpoint), **values)


def page_asked(size: int = PER_PAGE) -> Pages:
    given = request.args.get("page", "1")
    if not re.fullmatch("[1-9][0-9]{0,6}", given) or int(given) > LAST_PAGE:
        raise wrong("page", "Give the number of a page, from 1 on.")
    return Pages(int(given), size=size)


PSEUDONYM_PART = r"[A-Za-z0-9_-]{1,22}"
PSEUDONYM_WHAT = "A pseudonym or its beginning: letters, digits, - and _."
