"""What DICOM published, as data, and the verdicts of a policy applied to data sets."""

from privacy.dicom.identifying import collect_dicom
from privacy.dicom.judge import Dataset, Judge
from privacy.dicom.tables import ATTRIBUTES, PROFILE, Attribute, listed

__all__ = ["ATTRIBUTES", "PROFILE", "Attribute", "Dataset", "Judge", "collect_dicom", "listed"]
