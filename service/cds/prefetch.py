"""What we ask an EHR to send along: templates made from what the models say they read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mappings.vocabulary.concept_table import CODES
from twin_engine.models.contract import Model

PATIENT = "{{context.patientId}}"
# Panels whose components hold readings (blood pressure) are asked for with those readings.
_NAMED = ("map", "coded", "panel")
_PANELS = frozenset({"blood-pressure", "blood-pressure-average", "vital-signs"})
_LOINC = "http://loinc.org"


@dataclass(frozen=True, slots=True)
class Key:
    """One prefetch key: the type it fills, the search that fills it, and whether its type is one
    that every server must have for an answer."""

    name: str
    type: str
    params: tuple[tuple[str, str], ...] = ()
    needed: bool = True

    @property
    def template(self) -> str:
        if self.type == "Patient":
            return f"Patient/{PATIENT}"
        query = "&".join(f"{name}={value}" for name, value in self.params)
        return f"{self.type}?patient={PATIENT}{'&' + query if query else ''}"


# A condition, a procedure or a medicine can only be known to be absent where all were seen.
_WHOLE = (
    Key("conditions", "Condition"),
    Key("medications", "MedicationRequest"),
    Key("statements", "MedicationStatement", needed=False),
    Key("procedures", "Procedure", needed=False),
)


def keys(models: Iterable[Model]) -> tuple[Key, ...]:
    """Everything these models need, each thing once."""
    wanted = sorted({concept for model in models for concept in _concepts(model)})
    found = [Key("patient", "Patient")]
    if codes := _codes(wanted):
        joined = ",".join(f"{_LOINC}|{code}" for code in codes)
        found.append(Key("observations", "Observation", (("code", joined),)))
    return (*found, *_WHOLE)


def templates(wanted: Iterable[Key]) -> Mapping[str, str]:
    return {key.name: key.template for key in wanted}


def _concepts(model: Model) -> Iterable[str]:
    for declared in model.inputs.values():
        for source in declared.sources:
            yield from (source[kind] for kind in ("concept", "coded") if kind in source)


def _codes(concepts: Iterable[str]) -> list[str]:
    wanted = set(concepts)
    panels = wanted & {"systolic-bp", "diastolic-bp"}
    return sorted(
        code
        for code, rule in CODES["loinc"].items()
        if (rule.use in _NAMED and rule.concept in wanted)
        or (panels and rule.use == "panel" and rule.concept in _PANELS)
    )
