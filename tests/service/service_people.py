"""The made-up patients these tests run, and what is ours on their server afterwards."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from service.sandbox import PatientBundle
from service.sandbox.testing import RunningSandbox, population

Json = dict[str, Any]
Bundle = Callable[[Json], Path]


def today() -> date:
    return datetime.now(UTC).date()


def person(identity: str, anchor: date | None = None) -> PatientBundle:
    """One of the made-up patients, as of today unless another day is named."""
    people = population(anchor or today())
    return next(one for one in people if one.id == identity)


def ours(sandbox: RunningSandbox) -> dict[str, int]:
    """How many resources a server holds that no patient came with."""
    kinds = ("RiskAssessment", "Provenance", "Device")
    return {kind: sum(_is_new(r) for r in sandbox.resources(kind)) for kind in kinds}


def _is_new(resource: Json) -> bool:
    """The population's own devices carry a serial number."""
    return "serialNumber" not in resource


ONE_OF_EACH = {"RiskAssessment": 1, "Provenance": 2, "Device": 2}
"""Two models have answers for demo-008: a risk, and a clearance as an Observation."""
