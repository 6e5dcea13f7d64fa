"""Twins as OMOP CDM 5.4 tables: person, measurement, condition, drug, procedure, observation.

OMOP asks for dates, and a twin has none: every date is the surrogate epoch 1970-01-01 plus the
offset, and the year of birth is reckoned from the age at the twin's now on that same clock.
Distances in time are true, dates are nobody's. Concept ids are 0 ("no matching concept") except
where our table confirms one; the source codes stand beside them (`LOINC:2160-0`), to be resolved
with the vocabulary that every OMOP installation has.

What OMOP cannot say is left out and counted in `left_out`: facts without a date, what is suspected,
refuted, not done or not taken, preliminary values, and imaging studies. A censored value stands in
`value_source_value` ("<5") without a number.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, NamedTuple, TypeAlias

from mappings import vocabulary
from twin_engine.document.lineage import entries, rows
from twin_engine.state import NOT_FINAL, State

Row: TypeAlias = dict[str, Any]
Document = Mapping[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_CONCEPT = 0
SOURCE_VALUE = 50  # characters of a `*_source_value`
ANSWER_CODES = {"smoking-status": "LOINC:72166-2"}
# OMOP's own names of the vocabularies.
VOCABULARIES = {
    "loinc": "LOINC",
    "snomed": "SNOMED",
    "rxnorm": "RxNorm",
    "atc": "ATC",
    "icd10": "ICD10",
    "icd10cm": "ICD10CM",
    "icd9cm": "ICD9CM",
    "icd10pcs": "ICD10PCS",
    "cvx": "CVX",
}


class OmopError(ValueError):
    """This twin cannot be a person of OMOP. Says why, never a value."""


class Column(NamedTuple):
    name: str
    type: str
    required: bool


class Omop(NamedTuple):
    """The tables by name, and how many facts each kind of reason left out."""

    tables: dict[str, list[Row]]
    left_out: Counter[str]


@cache
def columns() -> dict[str, tuple[Column, ...]]:
    """The tables of CDM 5.4 that are written, with all their columns in order."""
    found: dict[str, list[Column]] = {}
    for row in _table("omop_columns.csv"):
        column = Column(row["column"], row["type"], row["required"] == "1")
        found.setdefault(row["table"], []).append(column)
    return {name: tuple(listed) for name, listed in found.items()}


@cache
def _concepts() -> dict[tuple[str, str], int]:
    listed = _table("omop_concepts.csv")
    return {(row["kind"], row["code"]): int(row["concept_id"]) for row in listed}


def _table(name: str) -> list[dict[str, str]]:
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def omop_tables(documents: Iterable[Document]) -> Omop:
    """Persons are numbered from 1 in the order given, facts from 1 in each table."""
    made = Omop({name: [] for name in columns()}, Counter())
    for number, document in enumerate(documents, start=1):
        _Person(document, number, made).write()
    return made


class _Person:
    """One twin's rows, appended to the tables."""

    def __init__(self, document: Document, number: int, made: Omop) -> None:
        self._document, self._number, self._made = document, number, made
        self._state = State(document)
        self._ehr = _concepts()[("type", "ehr")]

    def write(self) -> None:
        self._person()
        self._measurements()
        self._answers()
        self._conditions()
        self._drugs()
        self._vaccines()
        self._procedures()
        self._allergies()
        self._genomics()
        self._family()
        for _ in self._document["imaging"]:
            self._leave_out("imaging study: no table for it")

    # -- rows ----------------------------------------------------------------------------------

    def _add(self, table: str, **cells: Any) -> None:
        rows_of = self._made.tables[table]
        empty = dict.fromkeys(column.name for column in columns()[table])
        key = f"{table}_id"
        number = {} if table == "person" else {key: len(rows_of) + 1}
        rows_of.append(empty | number | {"person_id": self._number} | cells)

    def _leave_out(self, why: str) -> None:
        self._made.left_out[why] += 1

    def _when(self, name: str, t: int) -> Row:
        """`name_date`, and `name_datetime` where the twin counts minutes."""
        moment = surrogate(t, self._state.time_unit)
        made: Row = {f"{name}_date": moment.date()}
        if self._state.time_unit == "min":
            made[f"{name}_datetime"] = moment.replace(tzinfo=None)
        return made

    # -- tables --------------------------------------------------------------------------------

    def _person(self) -> None:
        sex, age = self._state.sex, self._state.age
        if age is None:
            raise OmopError("the twin has no age, and OMOP's person needs a year of birth")
        self._add(
            "person",
            gender_concept_id=_concepts().get(("sex", sex), NO_CONCEPT),
            year_of_birth=surrogate(self._state.now, self._state.time_unit).year - age,
            race_concept_id=NO_CONCEPT,
            ethnicity_concept_id=NO_CONCEPT,
            person_source_value=self._document["twin"]["id"],
            gender_source_value=sex,
        )

    def _measurements(self) -> None:
        for concept, column in self._document["signals"].items():
            code, unit = vocabulary.preferred_code(concept), column["unit"]
            named = f"LOINC:{code}" if code else concept
            for _, fact in rows(column):
                if fact.get("status") in NOT_FINAL:
                    self._leave_out("preliminary or of unknown status")
                    continue
                censored = fact.get("comparator", "")
                self._add(
                    "measurement",
                    measurement_concept_id=NO_CONCEPT,
                    **self._when("measurement", fact["t"]),
                    measurement_type_concept_id=self._ehr,
                    value_as_number=None if censored else fact["v"],
                    measurement_source_value=named,
                    unit_source_value=unit,
                    value_source_value=f"{censored}{fact['v']}" if censored else None,
                )

    def _answers(self) -> None:
        for concept, column in self._document["coded"].items():
            for _, fact in rows(column):
                if fact.get("status") in NOT_FINAL:
                    self._leave_out("preliminary or of unknown status")
                else:
                    named = ANSWER_CODES.get(concept, concept)
                    self._observation(fact["t"], named, value_as_string=fact["code"])

    def _observation(self, t: int, named: str, **cells: Any) -> None:
        self._add(
            "observation",
            observation_concept_id=NO_CONCEPT,
            **self._when("observation", t),
            observation_type_concept_id=self._ehr,
            observation_source_value=named,
            **cells,
        )

    def _conditions(self) -> None:
        for entry in self._dated("conditions", "onset", "recorded"):
            self._add(
                "condition_occurrence",
                condition_concept_id=NO_CONCEPT,
                **self._when("condition_start", _start(entry, "onset", "recorded")),
                **self._end("condition_end", entry.get("abatement")),
                condition_type_concept_id=self._ehr,
                condition_source_value=_source_value(entry),
                condition_status_source_value=entry.get("verification"),
            )

    def _drugs(self) -> None:
        for entry in self._dated("medications", "start"):
            end = entry.get("end")
            self._add(
                "drug_exposure",
                drug_concept_id=NO_CONCEPT,
                **self._when("drug_exposure_start", entry["start"]),
                **self._when("drug_exposure_end", entry["start"] if end is None else end),
                verbatim_end_date=None if end is None else self._date(end),
                drug_type_concept_id=self._ehr,
                refills=entry.get("repeats"),
                days_supply=entry.get("supplyDays"),
                stop_reason="stopped" if entry["status"] == "stopped" else None,
                drug_source_value=_source_value(entry),
            )

    def _vaccines(self) -> None:
        """A dose of a vaccine is a drug exposure of one day, under its CVX code."""
        for entry in self._dated("immunizations", "t"):
            self._add(
                "drug_exposure",
                drug_concept_id=NO_CONCEPT,
                **self._when("drug_exposure_start", entry["t"]),
                **self._when("drug_exposure_end", entry["t"]),
                drug_type_concept_id=self._ehr,
                drug_source_value=_source_value(entry),
            )

    def _procedures(self) -> None:
        for entry in self._dated("procedures", "start"):
            self._add(
                "procedure_occurrence",
                procedure_concept_id=NO_CONCEPT,
                **self._when("procedure", entry["start"]),
                **self._end("procedure_end", entry.get("end")),
                procedure_type_concept_id=self._ehr,
                procedure_source_value=_source_value(entry),
            )

    def _allergies(self) -> None:
        for entry in self._document["allergies"]:
            if "onset" in entry:
                self._observation(
                    entry["onset"], _source_value(entry), qualifier_source_value="allergy"
                )
            else:
                self._leave_out("without a date")

    def _genomics(self) -> None:
        """A germline result without a date is what is known at the twin's now."""
        for entry in self._document["genomics"]:
            said = "/".join(entry.get("diplotype", ())) or entry["phenotype"]
            self._observation(
                entry.get("t", self._state.now),
                f"{entry['gene']} {said}",
                qualifier_source_value="pharmacogene",
            )

    def _family(self) -> None:
        """A history has no date of its own: it is what is known at the twin's now."""
        for entry in self._document["family"]:
            self._observation(
                self._state.now,
                _source_value(entry),
                qualifier_source_value=f"family history: {entry['relationship']}",
            )

    # -- entries -------------------------------------------------------------------------------

    def _dated(self, part: str, *starts: str) -> Iterator[Row]:
        """Entries that are or were so, once per source and code, that have a date."""
        seen = set()
        for entry in entries(self._document, part):
            key = (entry["src"], entry.get("system"), entry.get("code"), entry.get("kind"))
            if key in seen:
                continue  # the same diagnosis in another of our groups
            seen.add(key)
            if self._state.standing(part, entry) not in ("current", "past"):
                self._leave_out("suspected, not done or not taken")
            elif _start(entry, *starts) is None:
                self._leave_out("without a date")
            else:
                yield dict(entry)

    def _end(self, name: str, t: int | None) -> Row:
        return {} if t is None else self._when(name, t)

    def _date(self, t: int) -> date:
        return surrogate(t, self._state.time_unit).date()


def surrogate(t: int, time_unit: str) -> datetime:
    """An offset as a date that is nobody's."""
    step = timedelta(minutes=t) if time_unit == "min" else timedelta(days=t)
    try:
        return EPOCH + step
    except OverflowError:
        raise OmopError("a time lies outside of what a date can be") from None


def _start(entry: Mapping[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if name in entry), None)


def _source_value(entry: Mapping[str, Any]) -> str:
    """`SNOMED:38341003`; what has no code stands under our group or ingredients."""
    if "code" in entry:
        return f"{VOCABULARIES.get(entry['system'], entry['system'])}:{entry['code']}"
    names = (
        entry.get("ingredients")
        or entry.get("classes")
        or entry.get("against")
        or [entry.get("group", "")]
    )
    return " ".join(names)[:SOURCE_VALUE]
