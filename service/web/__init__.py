"""The HTTP surface: JSON API, FHIR façade, discovery, health, errors, the gate in front of all."""
