"""Commands load what they need: memory and time of every run, thousands of times a night."""

import subprocess
import sys

import pytest

# What only other commands need.
HEAVY = {
    "run": "fpdf sklearn scipy pyarrow pydicom alembic flask jinja2 sqlalchemy.dialects.postgresql",
    "ledger": "fpdf sklearn pyarrow pydicom alembic flask jinja2",
    "policy": "sqlalchemy numpy requests service.pipeline",
}


@pytest.mark.parametrize("command", HEAVY)
def test_a_command_loads_nothing_that_only_others_need(command: str) -> None:
    code = f"import sys, service.cli.{command}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY[command].split()) & set(said.stdout.split())
