"""Simulated vendors, by name: `twinport sandbox --persona NAME` and the tests start them."""

from collections.abc import Mapping

from service.sandbox.persona import Persona
from service.sandbox.personas.azure import Azure
from service.sandbox.personas.epic import Epic
from service.sandbox.personas.google import Google
from service.sandbox.personas.hapi import Hapi
from service.sandbox.personas.healthlake import HealthLake
from service.sandbox.personas.medplum import Medplum
from service.sandbox.personas.oracle import Oracle

PERSONAS: Mapping[str, type[Persona]] = {
    persona.name: persona for persona in (Azure, Epic, Google, Hapi, HealthLake, Medplum, Oracle)
}

__all__ = ["PERSONAS"]
