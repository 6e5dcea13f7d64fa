"""The imaging archive beside the sandbox's FHIR server."""

from service.sandbox.dicomweb.routes import ENDPOINTS, ROOT, add_dicomweb, address

__all__ = ["ENDPOINTS", "ROOT", "add_dicomweb", "address"]
