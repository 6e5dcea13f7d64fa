"""Flat tables: `long_rows`, one row per fact of any kind; `wide_rows`, one row per moment.

Times are offsets as in the document, and days before the twin's now. A value that was set aside is
in the long table with the rule that did so, without a value: it has none.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mappings import vocabulary
from twin_engine.document.lineage import ENTRIES, entries, rows, source_ids, source_types
from twin_engine.state import NOT_FINAL, UNITS_PER_DAY

Document = Mapping[str, Any]
Cell = str | int | float | None


class Long(NamedTuple):
    """One fact. What a kind of fact does not have is None."""

    twin: str
    version: int
    kind: str  # signal, coded, conditions, ..., series, acquisition, measured-on or set-aside
    concept: str | None  # concept, group, or classes joined by blanks
    label: str | None
    system: str | None
    code: str | None
    t: int | None
    time_unit: str
    days_before_now: float | None
    precision: str | None
    end: int | None
    value: float | None
    comparator: str | None
    unit: str | None
    answer: str | None  # the word of a coded answer, a side, a word of DICOM, or a study
    status: str | None
    origin: str | None
    came_in: str | None  # the unit the value came in, where it was converted
    rule: str | None  # of a value set aside
    source_type: str
    source: str


LONG = Long._fields
_HEAD = ("twin", "version", "t", "time_unit", "days_before_now")
_NUMBERS = frozenset({"version", "t", "end", "days_before_now", "value"})
_LABELS = {
    "conditions": vocabulary.condition_labels,
    "procedures": vocabulary.procedure_labels,
    "medications": vocabulary.medication_labels,
    "family": vocabulary.condition_labels,
    "immunizations": vocabulary.vaccine_labels,
}
_STARTS = ("onset", "start", "t")
_ENDS = ("abatement", "end")
_PRECISIONS = ("onsetPrecision", "startPrecision", "precision")
_STATUSES = ("status", "verification", "clinical")


def is_number(column: str) -> bool:
    """Whether a column of the long table holds numbers."""
    return column in _NUMBERS


def long_rows(documents: Iterable[Document]) -> Iterator[Long]:
    """Every fact of every twin, in the order of the document."""
    for document in documents:
        maker = _Maker(document)
        yield from maker.columns("signals")
        yield from maker.columns("coded")
        for part in ENTRIES:
            yield from (maker.entry(part, entry) for entry in entries(document, part))
        for study in document["imaging"]:
            yield from maker.study(study)
        yield from (maker.aside(entry) for entry in document["quality"]["setAside"])


class _Maker:
    """Rows of one twin."""

    def __init__(self, document: Document) -> None:
        head = document["twin"]
        self._document, self._ids = document, source_ids(document)
        self._types, self._now = source_types(document), head["now"]
        self._unit = head["timeUnit"]
        self._empty: dict[str, Any] = dict.fromkeys(Long._fields) | {
            "twin": head["id"],
            "version": head["version"],
            "time_unit": self._unit,
        }

    def _row(self, kind: str, src: int, t: int | None, **cells: Cell) -> Long:
        source = self._ids[src]
        where = {"source": source, "source_type": self._types[source]}
        when = {"t": t, "days_before_now": self._days(t)}
        return Long(**(self._empty | {"kind": kind} | where | when | cells))

    def _days(self, t: int | None) -> float | None:
        return None if t is None else (self._now - t) / UNITS_PER_DAY[self._unit]

    def columns(self, part: str) -> Iterator[Long]:
        for concept, column in self._document[part].items():
            number = part == "signals"
            label = vocabulary.concept(concept).label if number else None
            loinc = vocabulary.preferred_code(concept) if number else ""
            for src, fact in rows(column):
                yield self._row(
                    "signal" if number else "coded",
                    src,
                    fact["t"],
                    concept=concept,
                    label=label,
                    system="loinc" if loinc else None,
                    code=loinc or None,
                    precision=fact.get("precision", "day"),
                    value=fact.get("v"),
                    comparator=fact.get("comparator"),
                    unit=column.get("unit"),
                    answer=fact.get("code"),
                    status=fact.get("status", "final"),
                    origin=fact.get("origin", "measured") if number else None,
                    came_in=fact.get("from"),
                )

    def entry(self, part: str, entry: Mapping[str, Any]) -> Long:
        names = (
            [entry["group"]]
            if "group" in entry
            else entry.get("classes") or entry.get("against", ())
        )
        genes = ["/".join(entry.get("diplotype", ())), entry.get("phenotype")]
        labels = _LABELS[part]() if part in _LABELS else {}
        said = (entry[key] for key in _STATUSES if key in entry)
        return self._row(
            part,
            entry["src"],
            _first(entry, _STARTS),
            concept=" ".join(names) or entry.get("kind") or entry.get("gene"),
            answer=" ".join(filter(None, genes)) or None,
            label="; ".join(labels.get(name, name) for name in names) or None,
            system="dcm" if "modalities" in entry else entry.get("system"),
            code=" ".join(entry.get("modalities", ())) or entry.get("code"),
            precision=_first(entry, _PRECISIONS) or "day",
            end=_first(entry, _ENDS),
            status=" ".join(said) or None,
        )

    def study(self, study: Mapping[str, Any]) -> Iterator[Long]:
        """The series of a study, how each was acquired, and what was measured on it."""
        for series in study.get("series", ()):
            when = series.get("t", study.get("t"))
            yield self._series(study["src"], when, series)
            for name, told in series.get("parameters", {}).items():
                yield from self._acquired(study["src"], when, series, name, told)
        for one in study.get("measurements", ()):
            yield self._row(
                "measured-on",
                one["src"],
                study.get("t"),
                concept=one["concept"],
                label=vocabulary.body_site_labels().get(one.get("bodySite", "")),
                answer=self._ids[study["src"]],
            )

    def _series(self, src: int, when: int | None, series: Mapping[str, Any]) -> Long:
        return self._row(
            "series",
            src,
            when,
            label=vocabulary.body_site_labels().get(series.get("bodySite", "")),
            **_modality(series),
            value=series.get("instances"),
            unit="{image}" if "instances" in series else None,
            answer=series.get("laterality"),
        )

    def _acquired(
        self,
        src: int,
        when: int | None,
        series: Mapping[str, Any],
        name: str,
        told: Mapping[str, Any],
    ) -> Iterator[Long]:
        """One row; two where the images differ, the lowest and the highest."""
        label = vocabulary.acquisition_parameters()[name].label
        words = [str(told["given"]).lower()] if "given" in told else told.get("words", ())
        cells: list[dict[str, Cell]] = [{"answer": word} for word in words]
        cells += [{"value": value, "unit": told["unit"]} for value in told.get("v", ())]
        for cell in cells:
            yield self._row(
                "acquisition", src, when, concept=name, label=label, **_modality(series), **cell
            )

    def aside(self, entry: Mapping[str, Any]) -> Long:
        return self._row(
            "set-aside",
            entry["src"],
            entry.get("t"),
            concept=entry.get("concept"),
            rule=entry["rule"],
        )


def _modality(series: Mapping[str, Any]) -> dict[str, Cell]:
    known = series.get("modality")
    return {"system": "dcm", "code": known} if known else {}


def _first(entry: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((entry[name] for name in names if name in entry), None)


# -- wide ------------------------------------------------------------------------------------------


def wide_rows(documents: Iterable[Document]) -> tuple[tuple[str, ...], list[dict[str, Cell]]]:
    """Columns, and one row per twin and moment with a number for each concept measured then.

    Several readings of a moment become their mean, as models read them. Censored and preliminary
    values are left out: a cell of a table cannot say that it only lies below something. Columns
    carry their unit: `creatinine (mg/dL)`.
    """
    listed = list(documents)
    concepts = sorted({concept for document in listed for concept in document["signals"]})
    names = {c: f"{c} ({vocabulary.concept(c).unit})" for c in concepts}
    found = [row for document in listed for row in _moments(document, names)]
    used = set[str]().union(*found)
    return (*_HEAD, *(name for name in names.values() if name in used)), found


def _moments(document: Document, names: Mapping[str, str]) -> Iterator[dict[str, Cell]]:
    cells: dict[int, dict[str, list[float]]] = {}
    for concept, column in document["signals"].items():
        for _, fact in rows(column):
            if "comparator" not in fact and fact.get("status") not in NOT_FINAL:
                cells.setdefault(fact["t"], {}).setdefault(concept, []).append(fact["v"])
    head = document["twin"]
    per_day = UNITS_PER_DAY[head["timeUnit"]]
    for t in sorted(cells):
        row: dict[str, Cell] = {
            "twin": head["id"],
            "version": head["version"],
            "t": t,
            "time_unit": head["timeUnit"],
            "days_before_now": (head["now"] - t) / per_day,
        }
        yield row | {names[c]: sum(v) / len(v) for c, v in sorted(cells[t].items())}
