"""The pictures in the documentation, by the page that shows them. Made by the browser tests."""

from pathlib import Path

IMAGES = Path(__file__).parents[2] / "docs" / "images"
CLINIC = {
    "clinic-patient": "/clinic/twins/{twin}",
    "clinic-explain": "/clinic/twins/{twin}/versions/1/explain/systolic-bp",
    "clinic-whatif": "/clinic/twins/{twin}/whatif/ckd-epi-2021",
    "clinic-review": "/clinic/twins/{twin}/review/prevent",
}
TABLET = ("clinic-tablet",)  # the first of them, upright on a tablet
OFFICER = {
    "officer-overview": "/privacy",
    "officer-proof": "/privacy/twins/{twin}",
    "officer-element": "/privacy/elements/Patient.birthDate",
    "officer-compare": "/privacy/policies/compare?one=safe-harbor&other=limited-data-set",
    "officer-risk": "/privacy/risk",
}
OFFICER_ACTS = ("officer-stopped", "officer-requests")  # taken while somebody does something
PATIENT_ACTS = (
    "patient-record",
    "patient-dispute",
    "patient-consent",
    "patient-uses",
    "patient-take",
    "patient-shared",
    "patient-share",
)
SHOTS = {
    "clinician.md": [*CLINIC, *TABLET],
    "officer.md": [*OFFICER, *OFFICER_ACTS],
    "patient.md": PATIENT_ACTS,
}
