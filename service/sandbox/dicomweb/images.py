"""Made-up DICOM images of the sandbox's studies: a data set each, without pixels."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Resource = dict[str, Any]
STANDARD = "urn:ietf:rfc:3986"
MOST = 400
"""Images made of one series at most"""


@cache
def _modalities() -> dict[str, dict[str, Any]]:
    text = resources.files(__package__).joinpath("modalities.toml").read_text("utf-8")
    return tomllib.loads(text)


def study_uid(study: Mapping[str, Any]) -> str:
    listed = study.get("identifier", ())
    found = (i["value"] for i in listed if i.get("system") == "urn:dicom:uid")
    return str(next(found, "")).removeprefix("urn:oid:")


def numbers(series: Mapping[str, Any]) -> range:
    """The numbers of its images."""
    return range(1, min(series.get("numberOfInstances", 0), MOST) + 1)


def instance_uid(series: Mapping[str, Any], number: int) -> str:
    return f"{series['uid']}.{number}"


def images(study: Mapping[str, Any], patient: Mapping[str, Any]) -> "Iterator[Dataset]":
    """Every image of a study."""
    for series in study.get("series", ()):
        for number in numbers(series):
            yield image(study, series, patient, number)


def image(
    study: Mapping[str, Any], series: Mapping[str, Any], patient: Mapping[str, Any], number: int
) -> "Dataset":
    from pydicom.dataset import Dataset  # a third of a second, for those who need it

    made = Dataset()
    for keyword, value in {
        **_identity(study, series, patient),
        **_acquired(series, number),
    }.items():
        setattr(made, keyword, value)
    made.SOPInstanceUID = instance_uid(series, number)
    made.InstanceNumber = number
    block = made.private_block(0x0019, "EXAMPLE INSTRUMENTS", create=True)
    block.add_new(0x01, "LO", f"operator of {_name(patient)}")
    return made


def _identity(
    study: Mapping[str, Any], series: Mapping[str, Any], patient: Mapping[str, Any]
) -> dict[str, Any]:
    """What every archive holds, and no twin may."""
    started = datetime.fromisoformat(study["started"])
    accession = next(i["value"] for i in study["identifier"] if i["system"] != "urn:dicom:uid")
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": series["instance"][0]["sopClass"]["code"].removeprefix("urn:oid:"),
        "StudyInstanceUID": study_uid(study),
        "SeriesInstanceUID": series["uid"],
        "StudyID": accession[-4:],
        "StudyDate": f"{started:%Y%m%d}",
        "StudyTime": f"{started:%H%M%S}",
        "AccessionNumber": accession,
        "StudyDescription": f"Examination of {_name(patient)}",
        "SeriesDescription": series["description"],
        "SeriesNumber": series["number"],
        "Modality": series["modality"]["code"],
        "InstitutionName": "Example General Hospital",
        "StationName": "ROOM-A-2-117",
        "Manufacturer": "Example Instruments",
        "DeviceSerialNumber": f"SN{accession[-5:]}",
        "ReferringPhysicianName": "Quackenbush^Ada",
        "PatientName": _name(patient),
        "PatientID": patient_id(patient),
        "PatientBirthDate": str(patient.get("birthDate", "")).replace("-", ""),
        "PatientSex": {"male": "M", "female": "F"}.get(str(patient.get("gender")), "O"),
        "PatientComments": f"call the family of {_name(patient)} before the next visit",
    }


def _acquired(series: Mapping[str, Any], number: int) -> dict[str, Any]:
    row = dict(_modalities().get(series["modality"]["code"], {}))
    varying = row.pop("varying", {})
    turns = {name: values[(number - 1) % len(values)] for name, values in varying.items()}
    return row | turns


def patient_id(patient: Mapping[str, Any]) -> str:
    """The medical record number: type MR of the v2 table 0203."""
    for identifier in patient.get("identifier", ()):
        codings = identifier.get("type", {}).get("coding", ())
        if any(coding.get("code") == "MR" for coding in codings):
            return str(identifier["value"])
    return ""


def _name(patient: Mapping[str, Any]) -> str:
    name: Mapping[str, Any] = next(iter(patient.get("name", ())), {})
    return f"{name.get('family', '')}^{' '.join(name.get('given', ()))}"
