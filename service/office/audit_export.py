"""Audit events as a file: JSON lines, a table, or FHIR AuditEvents. Codes and pseudonyms only."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson

from service.stores.audit import AuditEvent
from service.web.fhir.audit import audit_event

COLUMNS = tuple(field.name for field in fields(AuditEvent))


@dataclass(frozen=True, slots=True)
class Form:
    media_type: str
    lines: Callable[[Iterable[AuditEvent], str], Iterator[bytes]]  # events, our own address


def _json_lines(events: Iterable[AuditEvent], _: str) -> Iterator[bytes]:
    for event in events:
        yield orjson.dumps(asdict(event) | {"time": _time(event)}, option=orjson.OPT_APPEND_NEWLINE)


def _table(events: Iterable[AuditEvent], _: str) -> Iterator[bytes]:
    """Nothing in a cell can start a formula: every part is a word of letters, digits and marks
    that no spreadsheet takes for one, but for the minus a pseudonym may begin with."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for event in events:
        row: dict[str, Any] = asdict(event) | {"time": _time(event)}
        writer.writerow([_cell(row[name]) for name in COLUMNS])
        yield _taken(text)
    yield _taken(text)


def _fhir(events: Iterable[AuditEvent], base: str) -> Iterator[bytes]:
    """As our own façade tells them."""
    for event in events:
        yield orjson.dumps(audit_event(event, base), option=orjson.OPT_APPEND_NEWLINE)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" else value


def _taken(text: io.StringIO) -> bytes:
    data = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return data


def _time(event: AuditEvent) -> str:
    return event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


FORMATS = {
    "jsonl": Form("application/x-ndjson", _json_lines),
    "csv": Form("text/csv; charset=utf-8", _table),
    "ndjson": Form("application/fhir+ndjson", _fhir),
}
