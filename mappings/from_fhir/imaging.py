"""ImagingStudy → what was imaged, how and when, and what was measured on it. No UIDs, no instances.

A measurement is an Observation that names the study (`derivedFrom`, `partOf`, `focus`), the result
of a report on the study, or a member of a panel that is either. Its value is a fact of its own; the
study only points at it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mappings.from_fhir.acquisition import Acquired, read_acquisition
from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import Moment, code_in, codes, moment
from mappings.vocabulary.answers import BODY_SITES, LATERALITIES, MODALITIES
from mappings.vocabulary.facts import ImagingFact, ImagingMeasure, ImagingSeries, Measurement

LINKS = ("derivedFrom", "partOf", "focus")
NOTED = frozenset({*LINKS, "hasMember", "bodySite"})
MOST = 10**7
"""No study has as many images; a larger number is none."""
_STUDY = "ImagingStudy/"
_OBSERVATION = "Observation/"
_NO_REPORT = frozenset({"entered-in-error", "cancelled"})
DEEPEST = 3
"""Panels of panels of panels."""


def map_imaging_study(record: Record, out: Collector) -> None:
    status = record.get("status", "unknown")
    if status == "entered-in-error":
        return out.aside("status-withdrawn", record)
    series = sorted((_series(one, record, out) for one in record.get("series") or ()), key=repr)
    modalities = {_modality(coding) for coding in record.get("modality") or ()}
    modalities |= {one.modality for one in series}
    time, precision = _started(record, series)
    out.imaging.append(
        ImagingFact(
            modalities=tuple(sorted(modalities - {""})),
            series=tuple(series),
            status=status,
            source=record["id"],
            time=time,
            precision=precision,
            series_total=_count(record.get("numberOfSeries")),
            instances=_count(record.get("numberOfInstances")),
        )
    )
    return None


def _started(record: Record, series: Sequence[ImagingSeries]) -> Moment:
    """Where the study gives no time, its first series does."""
    if record.get("started"):
        return moment(record["started"])
    dated = [(one.time, one.precision) for one in series if one.time is not None]
    return min(dated) if dated else (None, "day")


def _modality(coding: Record | None) -> str:
    code = code_in(coding, "dcm")
    return code if code in MODALITIES else ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None


def _series(series: Record, study: Record, out: Collector) -> ImagingSeries:
    time, precision = moment(series.get("started"))
    modality = _modality(series.get("modality"))
    found = Acquired(0, ())
    if "acquisition" in series:
        found = read_acquisition(series["acquisition"], modality)
        for rule in found.aside:
            out.aside(rule, study, time=time)
    return ImagingSeries(
        modality=modality,
        body_site=_site(series.get("bodySite")),
        instances=_count(series.get("numberOfInstances")),
        laterality=LATERALITIES.get(code_in(series.get("laterality"), "snomed"), ""),
        time=time,
        precision=precision,
        read=found.read,
        parameters=found.parameters,
    )


def _site(coded: Record | None) -> str:
    return next(
        (code for name, code in codes(coded) if name == "snomed" and code in BODY_SITES), ""
    )


# -- measurements ----------------------------------------------------------------------------------


def map_report(record: Record, out: Collector) -> None:
    """What a report says stays unread; it ties its results to the studies it is about."""
    if record.get("status") in _NO_REPORT:
        return
    for study in _targets(record.get("imagingStudy"), _STUDY):
        for observation in _targets(record.get("result"), _OBSERVATION):
            out.measured_on.add((study, observation))


def note_links(record: Record, out: Collector) -> None:
    """Of an Observation with any of `NOTED`: which studies it names, and where it was measured."""
    for element in LINKS:
        if element in record:
            for study in _targets(record[element], _STUDY):
                out.measured_on.add((study, record["id"]))
    if "hasMember" in record:
        out.members[record["id"]] = tuple(_targets(record["hasMember"], _OBSERVATION))
    if "bodySite" in record:
        site = _site(record["bodySite"])
        if site:
            out.sites[record["id"]] = site


def _targets(references: Iterable[Record] | None, prefix: str) -> Iterator[str]:
    for one in references or ():
        text = one.get("reference", "")
        if text.startswith(prefix):
            yield text.removeprefix(prefix)


def with_measurements(
    studies: Iterable[ImagingFact], measured: Iterable[Measurement], out: Collector
) -> list[ImagingFact]:
    """The studies with what was measured on them and has been kept."""
    on: dict[str, set[str]] = {}
    for study, observation in out.measured_on:
        on.setdefault(study, set()).update(_with_members(observation, out))
    if not on:
        return list(studies)
    linked = set[str]().union(*on.values())
    concepts: dict[str, set[str]] = {}
    for fact in measured:
        if fact.source in linked:
            concepts.setdefault(fact.source, set()).add(fact.concept)
    return [_with(study, on.get(study.source, ()), concepts, out) for study in studies]


def _with_members(observation: str, out: Collector) -> set[str]:
    found, newest = {observation}, [observation]
    for _ in range(DEEPEST):
        newest = [m for one in newest for m in out.members.get(one, ()) if m not in found]
        found.update(newest)
    return found


def _with(
    study: ImagingFact,
    observations: Iterable[str],
    concepts: dict[str, set[str]],
    out: Collector,
) -> ImagingFact:
    made = sorted(
        ImagingMeasure(concept, source, out.sites.get(source, ""))
        for source in observations
        for concept in concepts.get(source, ())
    )
    return study._replace(measurements=tuple(made))
