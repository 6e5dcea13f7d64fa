"""What an order is about: which of our models has anything to say when a medicine is picked.

A model is concerned where it reads a class of medicine that the selected one belongs to, and then
the answer will be another one once it is taken; or where an outcome of it is about the very
medicine. What is written in an order is never repeated: our own labels are.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from mappings.vocabulary.medications import Medicine, ingredients, medication, medication_labels
from twin_engine.models.contract import Model

Json = dict[str, Any]


class UnreadableOrdersError(Exception):
    """`selections` and `draftOrders` are not as the hook has them; names the member."""

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.member = member


def selected(context: Mapping[str, Any]) -> list[Medicine]:
    """The medicines just picked, as far as their codes are known here."""
    names = context.get("selections")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UnreadableOrdersError("selections")
    bundle = context.get("draftOrders")
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise UnreadableOrdersError("draftOrders")
    orders = [order for order in _orders(bundle) if _name(order) in set(names)]
    found = (medication(system, code) for order in orders for system, code in _codes(order))
    return [medicine for medicine in found if medicine.ingredients or medicine.classes]


def touched(models: Iterable[Model], medicines: Iterable[Medicine]) -> dict[str, tuple[str, ...]]:
    """Model → what of the selection it is about, in our own words. Others are not in it."""
    chosen = list(medicines)
    return {model.id: words for model in models if (words := _words(model, chosen))}


def about(assessment: Json, medicines: Iterable[Medicine], model: Model) -> Json:
    """Of a model that speaks of medicines by name, only what it says of these."""
    chosen = {name for medicine in medicines for name in medicine.ingredients}
    if not any(_names(target.outcome, _known()) for target in model.targets()):
        return assessment
    kept = [one for one in assessment["results"] if _names(one["outcome"], chosen)]
    return {**assessment, "results": kept}


def _words(model: Model, medicines: list[Medicine]) -> tuple[str, ...]:
    read = {name for variable in model.inputs.values() for source in variable.sources
            for name in source.get("medication", ())}  # fmt: skip
    labels = medication_labels()
    classes = {labels[name] for medicine in medicines for name in medicine.classes if name in read}
    named = {
        ingredient
        for medicine in medicines
        for ingredient in medicine.ingredients
        if any(_names(target.outcome, {ingredient}) for target in model.targets())
    }
    return tuple(sorted(classes | named))


@cache
def _known() -> frozenset[str]:
    return frozenset(ingredients())


def _names(outcome: str, medicines: Iterable[str]) -> bool:
    """`clopidogrel-acs-pci` is about clopidogrel."""
    return any(outcome == name or outcome.startswith(f"{name}-") for name in medicines)


def _orders(bundle: Json) -> list[Json]:
    listed = bundle.get("entry")
    entries = listed if isinstance(listed, list) else []
    found = [entry.get("resource") for entry in entries if isinstance(entry, dict)]
    return [one for one in found if isinstance(one, dict)]


def _name(order: Json) -> str:
    return f"{order.get('resourceType')}/{order.get('id')}"


def _codes(order: Json) -> Iterable[tuple[str, str]]:
    """Of a MedicationRequest, inline or in a Medication that it contains."""
    if order.get("resourceType") != "MedicationRequest":
        return
    yield from _coded(order.get("medicationCodeableConcept"))
    reference = order.get("medicationReference")
    wanted = reference.get("reference") if isinstance(reference, dict) else None
    listed = order.get("contained")
    for inside in listed if isinstance(listed, list) else ():
        if isinstance(inside, dict) and wanted == f"#{inside.get('id')}":
            yield from _coded(inside.get("code"))


def _coded(concept: Any) -> Iterable[tuple[str, str]]:
    listed = concept.get("coding") if isinstance(concept, dict) else None
    for coding in listed if isinstance(listed, list) else ():
        if isinstance(coding, dict):
            system, code = coding.get("system"), coding.get("code")
            if isinstance(system, str) and isinstance(code, str):
                yield system, code
