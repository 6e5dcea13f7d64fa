"""Asking to be erased: an event of the audit, on the officer's first page until it is done."""

from service.auth import Principal
from service.stores.audit import AuditFilter, AuditStore

ASKED = "erasure-asked"


def ask(audit: AuditStore, who: Principal, twin: str) -> None:
    audit.record(role=who.role, subject=who.subject, action=ASKED, outcome="done", object=twin)


def is_asked(audit: AuditStore, twin: str) -> bool:
    return audit.count(AuditFilter(object=twin, action=ASKED)) > 0
