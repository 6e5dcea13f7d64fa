"""The suites that walk the whole path: several processes, servers or installations a test.

`make test` runs one of each kind; `pytest -m whole`, and so CI, all of them.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SUITES = {
    "bulk": "changes folder hostile killed loop unrecorded",
    "cds": "hooks orders",
    "cli": "coverage export officer reidentify trap_16",
    "deidentify": "files unrecorded",
    "dicomweb": "loop",
    "fhir": "sandbox signin since writeback",
    "models": "carry commands local recalibrate validation",
    "pages": "http named officer officer_risk own printed review",
    "personas": "checkup hostile loop",
    "portable": "everything sphr",
    "receive": "commands hostile interchange",
    "refresh": "beside chart ladder only_needed refusals transcripts",
    "review": "chart desk",
    "sandbox": "docs export population writes",
    "service": "arriving commands disk killed pipeline privacy proof together",
    "sharing": "commands service",
    "smart": "launch",
    "stores": "jobs",
    "watch": "commands notification polling subscriptions",
    "web": "overload",
    "writeback": "once",
}
# One of each kind, for everybody and every time.
ALWAYS = {
    "test_a_run_makes_a_twin_that_verifies_recomputes_and_is_on_the_server",
    "test_the_golden_transcript",
    "test_one_new_reading_concerns_those_that_read_it",
    "test_every_kind_of_bundle_can_be_read",
    "test_fhir_is_accepted_and_holds_no_date",
    "test_a_folder_of_ndjson_comes_out_without_identity",
    "test_discovery_says_what_the_specification_asks_for",
    "test_every_patient_gets_a_twin_and_the_files_say_how",
    "test_same_anchor_and_seed_give_the_same_bytes",
    "test_from_the_chart_to_the_page_of_that_patient",
}
# Begun last, it would keep one process busy for minutes while the other has nothing left to do.
LONGEST = "test_a_thousand_random_schedules"


def files() -> frozenset[Path]:
    return frozenset(
        TESTS / folder / f"test_{folder}_{name}.py"
        for folder, names in SUITES.items()
        for name in names.split()
    )


def mark(items: Iterable[pytest.Item]) -> None:
    """Before the marks are looked at."""
    found = files()
    for item in items:
        if item.path in found and item.name.partition("[")[0] not in ALWAYS:
            item.add_marker(pytest.mark.whole)
