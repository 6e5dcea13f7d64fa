"""The FHIR façade."""

from service.web.fhir import assess, metadata, results
from service.web.fhir.blueprint import facade

__all__ = ["assess", "facade", "metadata", "results"]
