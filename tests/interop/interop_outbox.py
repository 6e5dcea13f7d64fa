"""The in-memory outbox of the write-back tests, for here."""

import importlib.util
from pathlib import Path

_FILE = Path(__file__).parents[1] / "fhir" / "fhir_outbox.py"
_spec = importlib.util.spec_from_file_location("fhir_outbox", _FILE)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
MemoryOutbox = _module.MemoryOutbox
