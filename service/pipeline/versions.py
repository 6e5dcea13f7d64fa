"""Which version of a model runs here: the published one, or one recalibrated here that a person
has switched on."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from service.pipeline.errors import NotConfigured
from service.stores import Database
from service.stores.local_models import LocalModelStore
from twin_engine.models.cards import card
from twin_engine.models.contract import Model
from twin_engine.models.recalibrate import LOCAL, LocalVersion
from twin_engine.models.registry import UnknownModelError, all_models, get

Json = dict[str, Any]


class ModelVersions:
    """Asks the database each time what is switched on, so that every process sees a switch."""

    def __init__(self, database: Database) -> None:
        self._store = LocalModelStore(database)
        self._made: dict[tuple[str, int], LocalVersion] = {}  # a version never changes

    def active(self) -> Mapping[str, LocalVersion]:
        """The local versions in force. One made of another version than is installed may not
        run, and neither may the published one in its place without anybody's decision."""
        found = {}
        for model, switch in self._store.active().items():
            assert switch.number is not None
            local = self.local(model, switch.number)
            installed = all_models().get(model)
            if installed is None or local.base.version != local.local["base"]:
                raise NotConfigured(
                    f"{local.version} of {model} is switched on, but was made of another version "
                    f"than is installed. Next: twinport models local off {model} --why ..., or "
                    "recalibrate anew"
                )
            found[model] = local
        return found

    def local(self, model: str, number: int) -> LocalVersion:
        known = self._made.get((model, number))
        if known is None:
            content = self._store.get(model, number)
            if content is None:
                raise UnknownModelError(f"no local version {number} of {model!r}")
            known = self._made[model, number] = LocalVersion(get(model), content)
        return known

    def of(self, made_by: Mapping[str, Any]) -> Model:
        """The model of an assessment (`{"id": ..., "version": ...}`), local or published."""
        _, sign, number = str(made_by.get("version", "")).partition(LOCAL)
        if not sign:
            return get(made_by["id"])
        return self.local(made_by["id"], int(number))

    def card(self, made_by: Mapping[str, Any]) -> Json:
        return _card(self.of(made_by))

    def cards(self, document: Mapping[str, Any]) -> dict[str, Json]:
        """Of every model installed; of one that answered in this twin, the card it answered
        under."""
        known = {name: _card(model) for name, model in all_models().items()}
        answered = [one["model"] for one in document["assessments"] if one["model"]["id"] in known]
        return known | {made_by["id"]: self.card(made_by) for made_by in answered}


@lru_cache(maxsize=256)
def _card(model: Model) -> Json:
    """Put together once, to be read and not changed: no version of a model ever changes."""
    return card(model)
