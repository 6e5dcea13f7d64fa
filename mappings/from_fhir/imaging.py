"""ImagingStudy → what was imaged, how and when. No UIDs, no instances."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import code_in, moment
from mappings.vocabulary.answers import BODY_SITES, MODALITIES
from mappings.vocabulary.facts import ImagingFact, ImagingSeries


def map_imaging_study(record: Record, out: Collector) -> None:
    status = record.get("status", "unknown")
    if status == "entered-in-error":
        return out.aside("status-withdrawn", record)
    series = tuple(
        sorted(map(_series, record.get("series") or ()), key=lambda s: (s[0], s[1], s[2] or 0))
    )
    modalities = {_modality(coding) for coding in record.get("modality") or ()}
    modalities |= {one.modality for one in series}
    time, precision = moment(record.get("started"))
    out.imaging.append(
        ImagingFact(
            modalities=tuple(sorted(modalities - {""})),
            series=series,
            status=status,
            source=record["id"],
            time=time,
            precision=precision,
        )
    )
    return None


def _modality(coding: Record | None) -> str:
    code = code_in(coding, "dcm")
    return code if code in MODALITIES else ""


def _series(series: Record) -> ImagingSeries:
    site = code_in(series.get("bodySite"), "snomed")
    return ImagingSeries(
        modality=_modality(series.get("modality")),
        body_site=site if site in BODY_SITES else "",
        instances=series.get("numberOfInstances"),
    )
