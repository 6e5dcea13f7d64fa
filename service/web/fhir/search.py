"""Search over our own resources: which parameters there are, how they are read, what is answered.

Nothing is dropped silently: a parameter that is not known is left out of the self link and named
in an outcome entry, or refused where the caller asked for `handling=strict`.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from service.web.answers import preference
from service.web.errors import Fault, WebError
from service.web.fhir.blueprint import GENERAL
from service.web.ports import FhirPage, FhirQuery, OwnResource, Token, UpdatedBound

MOST = 1000
_USUAL = 50
_CONTROL = frozenset({"_count", "_page"})


class SearchParameter(NamedTuple):
    """One parameter as the CapabilityStatement lists it, and the filter it becomes."""

    name: str
    type: str
    filter: str
    documentation: str


_ID = SearchParameter("_id", "token", "ids", "The resource's id.")
_UPDATED = SearchParameter("_lastUpdated", "date", "updated", "When it was made or changed.")
_IDENTIFIER = SearchParameter("identifier", "token", "identifiers", "A business identifier.")
_PATIENT = SearchParameter(
    "patient", "reference", "twins", "The pseudonym of the twin it is about."
)
_SUBJECT = _PATIENT._replace(name="subject")
_TARGET = SearchParameter("target", "reference", "targets", "The resource it vouches for.")

PARAMETERS: dict[str, tuple[SearchParameter, ...]] = {
    "RiskAssessment": (_ID, _UPDATED, _IDENTIFIER, _PATIENT, _SUBJECT),
    "Observation": (_ID, _UPDATED, _IDENTIFIER, _PATIENT, _SUBJECT),
    "Device": (_ID, _UPDATED, _IDENTIFIER),
    "Provenance": (_ID, _UPDATED, _TARGET),
}


# Searched by a blueprint of its own (`audit.py`), where it is served.
ELSEWHERE: dict[str, tuple[SearchParameter, ...]] = {"AuditEvent": (_PATIENT,)}


class Search(NamedTuple):
    """A search as it was understood."""

    query: FhirQuery
    applied: list[tuple[str, str]]
    ignored: int
    count_only: bool


def read_search(resource_type: str, given: "MultiDict[str, str]") -> Search:
    """What is asked for; refuses what is malformed, sets aside what is not known."""
    known = {parameter.name: parameter for parameter in PARAMETERS[resource_type]}
    filters: dict[str, Any] = {}
    applied: list[tuple[str, str]] = []
    ignored = 0
    for name, values in given.lists():
        if name in GENERAL | _CONTROL:
            continue
        if name.partition(":")[0] in known:
            _add(filters, known, name, values)
            applied += [(name, value) for value in values]
        else:
            ignored += 1
    if ignored and preference("handling") == "strict":
        raise WebError("not-supported", faults=[_unknown(ignored)])
    count = _count(given)
    applied += [("_count", str(count))] if "_count" in given else []
    query = FhirQuery(resource_type, **filters, limit=max(count, 1), after=_after(given))
    return Search(query, applied, ignored, count_only=count == 0)


def searchset(search: Search, page: FhirPage, base: str) -> dict[str, Any]:
    """The answer, with a self link that says what was understood."""
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": page.total,
        "link": list(_links(search, page, base)),
    }
    entries = [] if search.count_only else [_entry(found, base) for found in page.resources]
    if search.ignored:
        entries.append(_warning(search.ignored))
    return {**bundle, "entry": entries} if entries else bundle


# -- reading ---------------------------------------------------------------------------------------


def _add(
    filters: dict[str, Any],
    known: Mapping[str, SearchParameter],
    name: str,
    values: list[str],
) -> None:
    plain, _, modifier = name.partition(":")
    if modifier:
        what = f"{plain} takes no modifier here."
        raise WebError("not-supported", faults=[Fault("", what)])
    parameter = known[plain]
    if parameter.filter == "updated":
        filters["updated"] = tuple(_bound(value) for value in values)
    elif len(values) > 1 or parameter.filter in filters:
        what = f"{plain} may be given once; alternatives go into one value, with commas."
        raise WebError("not-supported", faults=[Fault("", what)])
    else:
        read = _READERS[parameter.filter]
        filters[parameter.filter] = tuple(read(value) for value in _alternatives(values[0], plain))


def _alternatives(text: str, name: str) -> list[str]:
    """Values between commas that no backslash escapes."""
    parts = re.split(r"(?<!\\),", text)
    values = [re.sub(r"\\([\\,|$])", r"\1", part) for part in parts]
    if not all(values):
        raise WebError("bad-value", faults=[Fault("", f"{name} holds an empty value.")])
    return values


def _token(text: str) -> Token:
    system, bar, value = text.partition("|")
    return Token(system, value) if bar else Token(None, system)


def _twin(text: str) -> str:
    return text.removeprefix("Patient/")


def _target(text: str) -> str:
    """The last two segments: a reference may be absolute on our base."""
    return "/".join(text.split("/")[-2:])


_READERS: Mapping[str, Callable[[str], Any]] = {
    "ids": str,
    "identifiers": _token,
    "twins": _twin,
    "targets": _target,
}


def _count(given: "MultiDict[str, str]") -> int:
    text = given.get("_count")
    if text is None:
        return _USUAL
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise WebError("bad-value", faults=[Fault("", "_count must be a whole number.")])
    return min(int(text), MOST)


def _after(given: "MultiDict[str, str]") -> str | None:
    text = given.get("_page")
    if text is None:
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except ValueError:  # not base64, or not ASCII
        step = "Follow the `next` link as it was given."
        raise WebError("bad-value", next_step=step) from None


# -- dates -----------------------------------------------------------------------------------------

_DATE = re.compile(
    r"(?P<prefix>[a-z]{2})?"
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.\d+)?)?(?P<zone>Z|[+-]\d\d:\d\d))?)?)?",
    re.ASCII,
)
_BOUNDS: Mapping[str, Callable[[datetime, datetime], UpdatedBound]] = {
    "eq": UpdatedBound,
    "gt": lambda _, end: UpdatedBound(end, None),
    "sa": lambda _, end: UpdatedBound(end, None),
    "ge": lambda start, _: UpdatedBound(start, None),
    "lt": lambda start, _: UpdatedBound(None, start),
    "eb": lambda start, _: UpdatedBound(None, start),
    "le": lambda _, end: UpdatedBound(None, end),
}


def _bound(text: str) -> UpdatedBound:
    """A date stands for all the moments it covers; a prefix says which side of them is meant."""
    form = _DATE.fullmatch(text)
    if form is None:
        raise WebError("bad-value", faults=[Fault("", "_lastUpdated must be a date.")])
    prefix = form["prefix"] or "eq"
    if prefix not in _BOUNDS:
        known = ", ".join(_BOUNDS)
        raise WebError("not-supported", faults=[Fault("", f"_lastUpdated takes {known}.")])
    try:
        return _BOUNDS[prefix](*_covered(form))
    except (ValueError, OverflowError):
        fault = Fault("", "_lastUpdated must be a date of the calendar.")
        raise WebError("bad-value", faults=[fault]) from None


def _covered(form: "re.Match[str]") -> tuple[datetime, datetime]:
    year, month, day = int(form["year"]), int(form["month"] or 1), int(form["day"] or 1)
    if form["hour"] is None:
        start = datetime(year, month, day, tzinfo=UTC)
        if form["day"]:
            return start, start + timedelta(days=1)
        later = (year, month + 1) if form["month"] and month < 12 else (year + 1, 1)
        return start, datetime(*later, 1, tzinfo=UTC)
    zone = form["zone"].replace("Z", "+00:00")
    clock = f"{form['hour']}:{form['minute']}:{form['second'] or '00'}{zone}"
    start = datetime.fromisoformat(f"{year:04d}-{month:02d}-{day:02d}T{clock}")
    step = timedelta(seconds=1) if form["second"] else timedelta(minutes=1)
    return start, start + step


# -- answering -------------------------------------------------------------------------------------


def _links(search: Search, page: FhirPage, base: str) -> Iterator[dict[str, str]]:
    address = f"{base}/{search.query.type}"
    here = [("_page", _cursor(search.query.after))] if search.query.after else []
    yield {"relation": "self", "url": _with(address, [*search.applied, *here])}
    if page.more and page.resources and not search.count_only:
        there = ("_page", _cursor(page.resources[-1].id))
        yield {"relation": "next", "url": _with(address, [*search.applied, there])}


def _with(address: str, parameters: list[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(parameters)}" if parameters else address


def _cursor(resource_id: str) -> str:
    return base64.urlsafe_b64encode(resource_id.encode()).rstrip(b"=").decode("ascii")


def _entry(found: OwnResource, base: str) -> dict[str, Any]:
    url = f"{base}/{found.type}/{found.id}"
    return {"fullUrl": url, "resource": shown(found), "search": {"mode": "match"}}


def shown(found: OwnResource) -> dict[str, Any]:
    """A resource as it is served: with the version that its `ETag` names."""
    meta = {
        **found.resource.get("meta", {}),
        "versionId": str(found.version),
        "lastUpdated": found.updated.isoformat(timespec="milliseconds"),
    }
    return {**found.resource, "meta": meta}


def _unknown(number: int) -> Fault:
    noun = "parameter is" if number == 1 else "parameters are"
    return Fault("", f"{number} search {noun} not known here.")


def _warning(number: int) -> dict[str, Any]:
    issue = {"severity": "warning", "code": "not-supported", "diagnostics": _unknown(number).what}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    return {"resource": outcome, "search": {"mode": "outcome"}}
