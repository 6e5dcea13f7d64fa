"""The Parameters of `$assess`: declared once, read strictly, told in the OperationDefinition."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from service.web.errors import Fault, WebError


class Parameter(NamedTuple):
    """One `in` parameter as the OperationDefinition declares it."""

    name: str
    type: str
    low: int
    high: str
    documentation: str

    @property
    def member(self) -> str:
        if self.type in _RESOURCES:
            return "resource"
        return f"value{self.type[0].upper()}{self.type[1:]}"


ASSESS: tuple[Parameter, ...] = (
    Parameter(
        "server", "string", 1, "1", "Name of the configured FHIR server that holds the patient."
    ),
    Parameter("model", "string", 0, "*", "Model to run; none named: the configured default ones."),
    Parameter(
        "policy", "string", 0, "1", "De-identification policy; absent: the configured default one."
    ),
    Parameter(
        "writeBack",
        "boolean",
        0,
        "1",
        "Whether the results are written to that server; absent: as the server is configured.",
    ),
    Parameter(
        "onlyNeeded",
        "boolean",
        0,
        "1",
        "Ask that server for the resource types that the models read, and for no others.",
    ),
    Parameter(
        "encounter",
        "id",
        0,
        "1",
        "The encounter on that server in which this is asked; the results name it, where it is "
        "one of this patient's.",
    ),
)
FILES = "identifiableDataFileUrls"
DEIDENTIFY: tuple[Parameter, ...] = (
    Parameter(
        "policy", "string", 1, "1", "A policy by name, or HHS_SAFE_HARBOR_DETERMINISTIC_METHOD."
    ),
    Parameter(
        "identifiableData", "Resource", 0, "1", "A Bundle of one or more patients, or a resource."
    ),
    Parameter(FILES, "Parameters", 0, "1", "Refused: addresses from callers are not fetched."),
)
_RESOURCES = frozenset({"Resource", "Parameters"})
_RESOURCE_MEMBERS = frozenset({"resourceType", "id", "meta", "language", "parameter"})
_PYTHON: Mapping[str, type] = {
    "string": str, "id": str, "boolean": bool, "Resource": dict, "Parameters": dict,
}  # fmt: skip


def read_parameters(body: Any, declared: Iterable[Parameter]) -> dict[str, list[Any]]:
    """Values by name. Anything not declared is refused: it could change what is meant."""
    items = _items(body)
    by_name = {parameter.name: parameter for parameter in declared}
    values: dict[str, list[Any]] = {name: [] for name in by_name}
    for number, item in enumerate(items):
        parameter, value = _read(item, f"Parameters.parameter[{number}]", by_name)
        values[parameter.name].append(value)
    for parameter in by_name.values():
        _check_number(parameter, len(values[parameter.name]))
    return values


def _items(body: Any) -> list[Any]:
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        raise WebError("malformed", next_step="Send a Parameters resource.")
    if not body.keys() <= _RESOURCE_MEMBERS:
        step = "Send nothing but `parameter` in it; implicit rules and extensions are refused."
        raise WebError("malformed", next_step=step, faults=[Fault("Parameters", "")])
    items = body.get("parameter", [])
    if not isinstance(items, list):
        raise WebError("malformed", faults=[Fault("Parameters.parameter", "Must be a list.")])
    return items


def _read(item: Any, where: str, by_name: Mapping[str, Parameter]) -> tuple[Parameter, Any]:
    if not isinstance(item, dict):
        raise WebError("malformed", faults=[Fault(where, "Must be an object.")])
    name = item.get("name")
    parameter = by_name.get(name) if isinstance(name, str) else None
    if parameter is None:
        known = ", ".join(by_name)
        raise WebError("fhir-invalid", faults=[Fault(f"{where}.name", f"Known are {known}.")])
    if item.keys() - {"name", "id"} != {parameter.member}:
        what = f"{parameter.name} must carry {parameter.member} and nothing else."
        raise WebError("bad-value", faults=[Fault(where, what)])
    value = item[parameter.member]
    if not isinstance(value, _PYTHON[parameter.type]) or value == "":
        what = f"{parameter.name} must be a {parameter.type}."
        raise WebError("bad-value", faults=[Fault(f"{where}.value", what)])
    return parameter, value


def _check_number(parameter: Parameter, number: int) -> None:
    if number < parameter.low:
        what = f"The parameter {parameter.name} is missing."
        raise WebError("required", faults=[Fault("Parameters.parameter", what)])
    if parameter.high != "*" and number > int(parameter.high):
        what = f"The parameter {parameter.name} may be given once."
        raise WebError("fhir-invalid", faults=[Fault("Parameters.parameter", what)])
