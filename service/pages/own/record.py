"""What is in my twin: every value and every entry, drawn and listed, each open to dispute."""

import re

from service.pages import record as lists
from service.pages import series, signals, words
from service.pages.own import said
from service.pages.own.frame import PATIENT, desk, own, own_twin, page
from service.pages.times import TwinClock
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import services

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@own.get("/record")
@PATIENT
def record() -> str:
    twin, runs = own_twin(), services().runs
    document = runs.document(twin)
    standings = desk().disputes.of(twin, document)
    found = said.disputed(standings)
    runs.note_use(principal(), "twin.own", twin)
    return page(
        "record",
        head=lists.header(document),
        sections=signals.sections(document),
        answers=[(name, words.concept(name)) for name in document["coded"]],
        entries=[(part, said.entries(document, part, found)) for part in said.LISTS],
        marked={one.dispute.place.name for one in standings},
        told=[said.told(one) for one in standings],
    )


@own.get("/record/<concept>")
@PATIENT
def values(concept: str) -> str:
    """One measurement: its course, and every value."""
    twin, runs = own_twin(), services().runs
    document = runs.document(twin)
    known = document["signals"].keys() | document["coded"].keys()
    if not _NAME.fullmatch(concept) or concept not in known:
        raise WebError(Failure.NOT_FOUND)
    found = said.disputed(desk().disputes.of(twin, document))
    columns = document["signals"].get(concept)
    chart = None
    if columns:
        unit = words.unit(columns["unit"])
        drawn = signals.series(concept, columns, document["quality"], TwinClock.of(document), None)
        chart = series.signal_chart("course", words.concept(concept), unit, drawn)
    return page(
        "values",
        title=words.concept(concept),
        chart=chart,
        entries=said.values(document, concept, found),
    )
