"""What the privacy tests share: a small vocabulary, a patient, and stores that live in memory."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from threading import Lock
from typing import Any

from privacy.deidentify import Deidentifier, Guards, Session
from privacy.errors import ConflictError
from privacy.ledger import Head
from privacy.policy import load_policy
from privacy.pseudonyms import Pseudonyms
from privacy.subject import SubjectContext

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
RXNORM, UCUM = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://unitsofmeasure.org"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
CODES = {
    (LOINC, "8480-6"), (LOINC, "2160-0"), (LOINC, "30525-0"), (LOINC, "21612-7"),
    (LOINC, "21112-8"), (LOINC, "85354-9"), (LOINC, "2339-0"), (SNOMED, "38341003"),
    (SNOMED, "44054006"), (RXNORM, "314076"), (CATEGORY, "vital-signs"),
    (SNOMED, "58756001"), (ICD10CM, "K21.9"),
}  # fmt: skip
GENERAL = {(ICD10CM, "K21.9"): "K21"}
UNITS = {"mm[Hg]", "mmHg", "mg/dL", "a", "years", "mo", "d", "mg"}

EPOCH = datetime(2018, 5, 17, 9, 41, tzinfo=UTC)
NOW = date(2021, 3, 1)
GUARDS = Guards(
    known_code=lambda system, code: (system, code) in CODES,
    known_unit=UNITS.__contains__,
    general_code=lambda system, code: GENERAL.get((system, code), code),
)
SAFE_HARBOR = Deidentifier(load_policy("safe-harbor"), GUARDS)
MINUTES = Deidentifier(load_policy("relative-minutes"), GUARDS)


def session(
    patient: Mapping[str, Any] | None = None,
    *,
    deidentifier: Deidentifier = SAFE_HARBOR,
    epoch: datetime = EPOCH,
    now: date = NOW,
    pseudonyms: Pseudonyms | None = None,
    links: Mapping[str, str] | None = None,
    bases: tuple[str, ...] = ("https://fhir.example.org/r4",),
    series: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Session:
    source = {"resourceType": "Patient", "id": "p1", "birthDate": "1960-02-03", **(patient or {})}
    context = SubjectContext.of(
        source,
        epoch=epoch,
        now=now,
        pseudonym=pseudonyms if pseudonyms is not None else Pseudonyms(),
        links=links,
        bases=bases,
    )
    return deidentifier.session(context, series)


def observation(**changes: Any) -> dict[str, Any]:
    base = {
        "resourceType": "Observation",
        "id": "obs-1",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8480-6"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2020-06-01T10:30:00Z",
        "valueQuantity": {"value": 148, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
    }
    return {**base, **changes}


class MemoryVaultStore:
    def __init__(self) -> None:
        self.rows: dict[str, tuple[bytes, int]] = {}
        self.keys: dict[str, bytes] = {}
        self._lock = Lock()

    def load(self, index: str) -> tuple[bytes, int] | None:
        return self.rows.get(index)

    def save(self, index: str, sealed: bytes, expected: int) -> int:
        with self._lock:
            if self.rows.get(index, (b"", 0))[1] != expected:
                raise ConflictError("saved by somebody else")
            self.rows[index] = (sealed, expected + 1)
            return expected + 1

    def delete(self, index: str) -> bool:
        return self.rows.pop(index, None) is not None

    def indexes(self) -> list[str]:
        return list(self.rows)

    def load_keys(self) -> dict[str, bytes]:
        return dict(self.keys)

    def replace_keys(self, keys: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
        with self._lock:
            if self.keys != expected:
                raise ConflictError("rotated by somebody else")
            self.keys = dict(keys)


class MemoryLedgerStore:
    def __init__(self) -> None:
        self.rows: list[tuple[str, bytes]] = []
        self._lock = Lock()

    def head(self) -> Head:
        return Head(len(self.rows), self.rows[-1][0]) if self.rows else Head()

    def append(self, seq: int, digest: str, line: bytes) -> None:
        with self._lock:
            if seq != len(self.rows) + 1:
                raise ConflictError("appended by somebody else")
            self.rows.append((digest, line))

    def lines(self) -> Iterator[bytes]:
        return (line for _, line in self.rows)
