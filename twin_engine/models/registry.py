"""Which models are installed: each entry point of the group names a function returning models."""

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from twin_engine.models.contract import Model

GROUP = "twinport.models"


class UnknownModelError(LookupError):
    """No installed model has this id."""


class DuplicateModelError(RuntimeError):
    """Two installed packages offer a model of the same id."""


@cache
def all_models() -> Mapping[str, Model]:
    """Every installed model by id, in the order of their ids."""
    found: dict[str, Model] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        register(point.load()(), found)
    return MappingProxyType(dict(sorted(found.items())))


def default_models(settings: Collection[str] = ()) -> tuple[Model, ...]:
    """The models a twin is assessed with when none is named: those that a twin can feed.

    A model that reads a setting (its region) is among them once the installation has stated it.
    """
    return tuple(
        model
        for model in all_models().values()
        if not model.on_request and model.settings.keys() <= set(settings)
    )


def unknown_settings(settings: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with an installation's settings for models, one sentence each."""
    known = {
        name: words for model in all_models().values() for name, words in model.settings.items()
    }
    return tuple(
        f"{name}: "
        + (f"use one of {', '.join(known[name])}" if name in known else "no model reads it")
        for name, word in settings.items()
        if word not in known.get(name, ())
    )


def register(models: Iterable[Model], into: dict[str, Model]) -> None:
    for model in models:
        if model.id in into:
            raise DuplicateModelError(
                f"model {model.id!r} is offered twice; uninstall one of the packages offering it"
            )
        into[model.id] = model


def get(model_id: str) -> Model:
    try:
        return all_models()[model_id]
    except KeyError:
        known = ", ".join(all_models())
        raise UnknownModelError(f"no model {model_id!r}; installed: {known}") from None
