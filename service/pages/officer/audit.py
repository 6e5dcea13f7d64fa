"""Who did what: searched, paged, and handed out as a file."""

from collections.abc import Iterator

from flask import Response, render_template

from service.office import audit_export
from service.pages import words
from service.pages.officer.frame import (
    OFFICER,
    PSEUDONYM_PART,
    choice,
    day,
    matching,
    midnight,
    note,
    office,
    officer,
    only,
    page_asked,
    wrong,
)
from service.stores.audit import AuditFilter
from service.web.discovery import public_base
from service.web.errors import WebError

SUBJECT = r"[A-Za-z0-9._:/=-]{1,64}"


@officer.get("/audit")
@OFFICER
def audit() -> str:
    where = _asked()
    desk, pages = office(), page_asked()
    found = desk.audit.search(where, limit=pages.size, offset=pages.offset)
    return render_template(
        "officer/audit.html",
        events=found,
        pages=pages.of(desk.audit.count(where)),
        actions=[(action, words.word("use", action)) for action in desk.audit.actions()],
        roles=[*words.ROLES.items(), ("system", "The service itself")],
        use=lambda action: words.word("use", action),
        role=lambda name: words.ROLES.get(name, words.plain(name)),
    )


@officer.get("/audit.<kind>")
@OFFICER
def audit_file(kind: str) -> Response:
    """The same events, oldest first, as JSON lines, a table, or FHIR AuditEvents line by line."""
    if kind not in audit_export.FORMATS:
        raise WebError("unknown-route")
    where = _asked()
    note("audit-export")
    form, base = audit_export.FORMATS[kind], public_base()

    def lines() -> Iterator[bytes]:
        yield from form.lines(desk.audit.events(where), base)

    desk = office()
    response = Response(lines(), content_type=form.media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="audit.{kind}"'
    return response


def _asked() -> AuditFilter:
    only("twin", "action", "role", "subject", "from", "to")
    start, end = day("from"), day("to")
    if start and end and end < start:
        raise wrong("to", "The last day lies before the first.")
    return AuditFilter(
        object=matching("twin", PSEUDONYM_PART, "A whole pseudonym or the id of a run."),
        action=choice("action", office().audit.actions()),
        role=choice("role", [*words.ROLES, "system"]),
        subject=matching("subject", SUBJECT, "A caller as the audit names it."),
        start=midnight(start),
        end=midnight(end, after=True),
    )
