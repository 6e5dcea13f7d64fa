"""Every refusal of the sandbox is a FhirError and leaves as an OperationOutcome."""

from collections.abc import Mapping
from typing import Any


class FhirError(Exception):
    """Status, issue code and a sentence. The sentence names paths and types, never a value."""

    def __init__(
        self,
        status: int,
        code: str,
        text: str,
        expression: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {text}")
        self.status = status
        self.code = code
        self.text = text
        self.expression = expression
        self.headers = dict(headers or {})


def outcome(
    code: str, text: str, severity: str = "error", expression: str | None = None
) -> dict[str, Any]:
    issue: dict[str, Any] = {"severity": severity, "code": code, "details": {"text": text}}
    if expression:
        issue["expression"] = [expression]
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def outcome_of(error: FhirError) -> dict[str, Any]:
    return outcome(error.code, error.text, expression=error.expression)
