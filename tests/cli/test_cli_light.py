"""Commands load what they need: memory and time of every run, thousands of times a night."""

import subprocess
import sys

HEAVY = ("fpdf", "sklearn", "scipy", "pyarrow", "pydicom")


def test_a_run_loads_nothing_that_only_other_commands_need() -> None:
    code = f"import sys, service.cli.run; print([m for m in {HEAVY} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
