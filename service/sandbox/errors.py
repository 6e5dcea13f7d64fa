"""Every refusal of the sandbox is a FhirError and leaves as an OperationOutcome."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FhirError(Exception):
    """Status, issue code and a sentence. The sentence names paths and types, never a value."""

    status: int
    code: str
    text: str
    expression: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    severity: str = "error"


def outcome(
    code: str, text: str, severity: str = "error", expression: str | None = None
) -> dict[str, Any]:
    issue: dict[str, Any] = {"severity": severity, "code": code, "details": {"text": text}}
    if expression:
        issue["expression"] = [expression]
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def outcome_of(error: FhirError) -> dict[str, Any]:
    return outcome(error.code, error.text, error.severity, error.expression)
