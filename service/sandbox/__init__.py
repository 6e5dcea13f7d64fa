"""A FHIR R4 sandbox: a made-up population and a small server, for the demo and for tests."""

from service.sandbox.persona import Persona, Settings
from service.sandbox.population import DEFAULT_SEED, DEMO_PATIENTS, PatientBundle, generate
from service.sandbox.run import DEFAULT_PORT, background, run
from service.sandbox.server import create_sandbox, sandbox_of

__all__ = [
    "DEFAULT_PORT",
    "DEFAULT_SEED",
    "DEMO_PATIENTS",
    "PatientBundle",
    "Persona",
    "Settings",
    "background",
    "create_sandbox",
    "generate",
    "run",
    "sandbox_of",
]
