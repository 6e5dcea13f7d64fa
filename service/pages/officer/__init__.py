"""The privacy officer's console. `officer` is handed to the application factory."""

from service.pages.officer import (
    access,
    audit,
    elements,
    ledger,
    overview,
    policies,
    reports,
    risk,
    runs,
    stopped,
    twins,
)
from service.pages.officer.frame import officer

__all__ = [
    "access",
    "audit",
    "elements",
    "ledger",
    "officer",
    "overview",
    "policies",
    "reports",
    "risk",
    "runs",
    "stopped",
    "twins",
]
