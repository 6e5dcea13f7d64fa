"""Reads an OperationOutcome for its codes. The words in it may hold patient data: never read."""

from collections.abc import Iterator
from typing import Any

# http://hl7.org/fhir/ValueSet/issue-type (R4): anything else a server sends is called "other".
ISSUE_CODES = frozenset(
    {
        "invalid",
        "structure",
        "required",
        "value",
        "invariant",
        "security",
        "login",
        "unknown",
        "expired",
        "forbidden",
        "suppressed",
        "processing",
        "not-supported",
        "duplicate",
        "multiple-matches",
        "not-found",
        "deleted",
        "too-long",
        "code-invalid",
        "extension",
        "too-costly",
        "business-rule",
        "conflict",
        "transient",
        "lock-error",
        "no-store",
        "exception",
        "timeout",
        "incomplete",
        "throttled",
        "informational",
    }
)

# A warning with one of these codes still means: what you got is not all there is.
CUTS_SHORT = frozenset(
    {
        "security",
        "forbidden",
        "suppressed",
        "too-costly",
        "incomplete",
        "timeout",
        "throttled",
        "transient",
        "exception",
        "lock-error",
        "no-store",
    }
)


def issues(resource: Any) -> Iterator[tuple[str, str]]:
    """(severity, code) of each issue, each from a closed list."""
    listed = resource.get("issue") if isinstance(resource, dict) else None
    for issue in listed if isinstance(listed, list) else ():
        if isinstance(issue, dict):
            severity, code = issue.get("severity"), issue.get("code")
            yield (
                severity if severity in ("fatal", "error", "warning") else "information",
                code if code in ISSUE_CODES else "other",
            )


def issue_codes(resource: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code for _, code in issues(resource)))


def is_outcome(resource: Any) -> bool:
    return isinstance(resource, dict) and resource.get("resourceType") == "OperationOutcome"


def is_error(resource: Any) -> bool:
    return any(severity in ("fatal", "error") for severity, _ in issues(resource))


def loses_content(resource: Any) -> bool:
    """Whether an outcome beside search results says that results are missing."""
    return any(s in ("fatal", "error") or c in CUTS_SHORT for s, c in issues(resource))
