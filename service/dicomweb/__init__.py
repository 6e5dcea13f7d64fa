"""The acquisition of a patient's images, from the archive their studies lie in."""

from service.dicomweb.read import read_patient, with_acquisition, without_acquisition
from service.dicomweb.study import SLICE

__all__ = ["SLICE", "read_patient", "with_acquisition", "without_acquisition"]
