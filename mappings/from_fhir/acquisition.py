"""The acquisition of one series: DICOM attributes of the instances read → parameters.

In: `{"read": instances, "values": {attribute: [one list of values per place it stood in, ...]}}`,
typed and de-identified. Instances mostly agree; where they do not, the lowest and highest remain.
"""

from typing import Any, NamedTuple

from mappings.vocabulary.acquisition import Parameter, acquisition_parameters
from mappings.vocabulary.facts import ImagingParameter

Values = dict[str, list[list[Any]]]
IMPLAUSIBLE = "acquisition-implausible"
OTHER_MODALITY = "acquisition-not-for-modality"


class Acquired(NamedTuple):
    read: int
    parameters: tuple[ImagingParameter, ...]
    aside: tuple[str, ...] = ()  # one rule for each parameter that is not used


def read_acquisition(acquisition: dict[str, Any], modality: str) -> Acquired:
    values: Values = acquisition["values"]
    found, aside = [], []
    for parameter in acquisition_parameters().values():
        given = _given(parameter, values)
        if not given:
            continue
        if not parameter.means_something_for(modality):
            aside.append(OTHER_MODALITY)
            continue
        made = _READERS[parameter.kind](parameter, given)
        if made is None:
            aside.append(IMPLAUSIBLE)
        else:
            found.append(made)
    return Acquired(acquisition["read"], tuple(sorted(found)), tuple(aside))


def _given(parameter: Parameter, values: Values) -> list[Any]:
    """All values of the first of its attributes that has any."""
    for attribute in parameter.attributes:
        flat = [value for one in values.get(attribute, ()) for value in one]
        if flat:
            return flat
    return []


def _number(parameter: Parameter, given: list[Any]) -> ImagingParameter | None:
    """Only if every value is possible: a series is not described by half of its instances."""
    scaled = {round(value * parameter.factor, parameter.decimals) for value in given}
    low, high = parameter.plausible
    if not all(low <= value <= high for value in scaled):
        return None
    ends = (min(scaled),) if len(scaled) == 1 else (min(scaled), max(scaled))
    return ImagingParameter(parameter.id, numbers=ends)


def _code(parameter: Parameter, given: list[Any]) -> ImagingParameter | None:
    words = sorted({word for word in given if word in parameter.words})
    return ImagingParameter(parameter.id, words=tuple(words)) if words else None


def _flag(parameter: Parameter, given: list[Any]) -> ImagingParameter:
    """True where any instance says so: a series with contrast has frames before it came."""
    return ImagingParameter(parameter.id, flag=any(given))


_READERS = {"number": _number, "code": _code, "flag": _flag}
