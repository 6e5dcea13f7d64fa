"""DICOM UIDs as FHIR and DICOM write them. They identify: they stay in requests and in memory."""

import re
from collections.abc import Mapping
from typing import Any

from service.dicomweb.dataset import rows

UID_SYSTEM = "urn:dicom:uid"
_PREFIX = re.compile(r"urn:oid:|oid:", re.IGNORECASE)
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
LONGEST = 64


def bare(text: Any) -> str:
    """The UID without prefix; empty where it is none by PS3.5, section 9.1."""
    if not isinstance(text, str):
        return ""
    found = _PREFIX.sub("", text.strip(), count=1)
    return found if len(found) <= LONGEST and _UID.fullmatch(found) else ""


def study_uid(study: Mapping[str, Any]) -> str:
    """The Study Instance UID of an ImagingStudy; empty where it states none."""
    listed = (r for r in rows(study.get("identifier")) if r.get("system") == UID_SYSTEM)
    return next(filter(None, (bare(one.get("value")) for one in listed)), "")
