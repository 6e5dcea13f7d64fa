"""SMART App Launch 2.2: a clinician comes from the EHR to one patient's page."""
