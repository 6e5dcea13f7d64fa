"""Closed answers: smoking status, imaging codes, and the short HL7 lists."""

from mappings.vocabulary.check_digits import SHAPES
from mappings.vocabulary.systems import NAMES, SHORT_NAMES
from mappings.vocabulary.tables import VocabularyError, read_table

SMOKING = "smoking-status"
SMOKING_ANSWERS = ("current", "former", "never", "unknown")


def _read_smoking() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for line, row in read_table("smoking.csv"):
        key = (row["system"], row["code"])
        if key in found or row["status"] not in (*SMOKING_ANSWERS, ""):
            raise VocabularyError("smoking.csv", line, "a code twice, or an unknown answer")
        if not SHAPES[row["system"]](row["code"]):
            raise VocabularyError("smoking.csv", line, "the code fails its shape or check digit")
        found[key] = row["status"]
    return found


def _read_imaging() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line, row in read_table("imaging.csv"):
        labels = found.setdefault(row["kind"], {})
        if row["system"] not in NAMES or row["code"] in labels:
            raise VocabularyError("imaging.csv", line, "unknown system, or a code twice")
        labels[row["code"]] = row["label"]
    return found


def _read_methods() -> dict[str, str]:
    found: dict[str, str] = {}
    for line, row in read_table("methods.csv"):
        if not SHAPES[row["system"]](row["code"]) or row["code"] in found:
            raise VocabularyError("methods.csv", line, "a code twice, or of the wrong shape")
        found[row["code"]] = row["label"]
    return found


def _read_hl7() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for line, row in read_table("hl7.csv"):
        if row["system"] not in NAMES:
            raise VocabularyError("hl7.csv", line, "unknown system")
        found.setdefault(row["system"], set()).add(row["code"])
    return {system: frozenset(codes) for system, codes in found.items()}


_SMOKING = _read_smoking()
_IMAGING = _read_imaging()
_HL7 = _read_hl7()
_METHODS = _read_methods()
MODALITIES = frozenset(_IMAGING["modality"])
BODY_SITES = frozenset(_IMAGING["body-site"])
LATERALITIES = {code: label.lower() for code, label in _IMAGING["laterality"].items()}
"""SNOMED CT code of a side -> our word: left, right, bilateral."""


def smoking_status(system: str, code: str) -> str | None:
    """`current`, `former`, `never` or `unknown`; None for an answer about something else."""
    return _SMOKING.get((SHORT_NAMES.get(system, ""), code)) or None


def coded_answers() -> dict[str, tuple[str, ...]]:
    """Coded concept -> its possible answers."""
    return {SMOKING: SMOKING_ANSWERS}


def modality_labels() -> dict[str, str]:
    """DICOM modality -> our label."""
    return dict(_IMAGING["modality"])


def body_site_labels() -> dict[str, str]:
    """SNOMED CT code of a body site -> our label."""
    return dict(_IMAGING["body-site"])


def method_labels() -> dict[str, str]:
    """SNOMED CT code of a way of measuring -> our label."""
    return dict(_METHODS)


def hl7_codes(system: str) -> frozenset[str]:
    """The codes we know of one short HL7 list, by its short name."""
    return _HL7[system]


def is_listed(system: str, code: str) -> bool:
    """Whether a code (system by short name) stands in one of these lists."""
    if code in _HL7.get(system, ()) or (system, code) in _SMOKING:
        return True
    if system == "dicom-uid":
        return code.removeprefix("urn:oid:") in _IMAGING["sop-class"]
    return system == "dcm" and code in MODALITIES
