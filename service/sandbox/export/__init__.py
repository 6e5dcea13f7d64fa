"""Bulk Data export of the sandbox. https://hl7.org/fhir/uv/bulkdata/"""

from service.sandbox.export.jobs import Exports
from service.sandbox.export.manners import Manners
from service.sandbox.export.routes import ENDPOINTS, OPEN, add_routes

__all__ = ["ENDPOINTS", "OPEN", "Exports", "Manners", "add_routes"]
