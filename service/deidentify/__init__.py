"""De-identified FHIR out of files."""
