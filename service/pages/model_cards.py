"""The cards of the models that answered for a twin."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.web.ports import Failure, ServiceError
from service.web.services import services

Json = Mapping[str, Any]


def cards(documents: Iterable[Json]) -> dict[str, Json]:
    """By model; one that does not run here any more has an empty card."""
    made_by = [item["model"] for document in documents for item in document["assessments"]]
    return {one["id"]: _card(one["id"], one["version"]) for one in made_by}


def _card(name: str, version: str) -> Json:
    try:
        return services().runs.model(name, version)
    except ServiceError as error:
        if error.failure is not Failure.NOT_FOUND:
            raise
        return {}
