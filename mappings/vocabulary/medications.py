"""Medicines: from an RxNorm or ATC code to ingredients and classes."""

from functools import lru_cache
from typing import NamedTuple

from mappings.vocabulary.check_digits import SHAPES
from mappings.vocabulary.systems import SHORT_NAMES
from mappings.vocabulary.tables import Row, VocabularyError, read_table


class Medicine(NamedTuple):
    """What is in it, and what kind of drug it is (not why it was given). Both sorted."""

    ingredients: tuple[str, ...]
    classes: tuple[str, ...]


_NOTHING = Medicine((), ())


class _Table:
    """The look-ups behind `medication`, made once."""

    def __init__(self) -> None:
        self.ingredient_of: dict[tuple[str, str], set[str]] = {}
        self.classes_of: dict[str, set[str]] = {}  # ingredient -> classes
        self.prefixes: dict[str, set[str]] = {}  # ATC prefix or code -> classes
        self.products: dict[str, tuple[set[str], set[str]]] = {}
        self.labels: dict[str, str] = {}
        for line, row in read_table("medications.csv"):
            self._add(line, row)
        for line, row in read_table("medication_products.csv"):
            self._add_product(line, row)
        self._classes_by_atc_of_ingredients()

    def _add(self, line: int, row: Row) -> None:
        system, code, drug_class = row["system"], row["code"], row["class"]
        if not SHAPES[system](code):
            raise VocabularyError("medications.csv", line, "the code fails its shape")
        self.labels.setdefault(drug_class, row["class_label"])
        if row["ingredient"]:
            self.ingredient_of.setdefault((system, code), set()).add(row["ingredient"])
            self.classes_of.setdefault(row["ingredient"], set()).add(drug_class)
        else:
            key = code if row["match"] == "prefix" else code + "$"
            self.prefixes.setdefault(key, set()).add(drug_class)

    def _add_product(self, line: int, row: Row) -> None:
        unknown = set(row["classes"].split()) - self.labels.keys()
        if unknown or not row["ingredient"]:
            raise VocabularyError("medication_products.csv", line, "no ingredient or unknown class")
        ingredients, classes = self.products.setdefault(row["product"], (set(), set()))
        ingredients.add(row["ingredient"])
        classes.update(row["classes"].split())

    def _classes_by_atc_of_ingredients(self) -> None:
        """An ingredient known by RxCUI is also in the classes that its ATC code lies under."""
        for (system, code), ingredients in self.ingredient_of.items():
            if system == "atc":
                for ingredient in ingredients:
                    self.classes_of[ingredient] |= self.atc_classes(code)

    def atc_classes(self, code: str) -> set[str]:
        found = set(self.prefixes.get(code + "$", ()))
        for end in range(1, len(code) + 1):
            found |= self.prefixes.get(code[:end], set())
        return found

    def find(self, system: str, code: str) -> Medicine:
        ingredients = set(self.ingredient_of.get((system, code), ()))
        classes = self.atc_classes(code) if system == "atc" else set()
        if system == "rxnorm" and code in self.products:
            of_product, declared = self.products[code]
            ingredients |= of_product
            classes |= declared
        for ingredient in ingredients:
            classes |= self.classes_of.get(ingredient, set())
        if not ingredients and not classes:
            return _NOTHING
        return Medicine(tuple(sorted(ingredients)), tuple(sorted(classes)))


_TABLE = _Table()
_lookup = lru_cache(maxsize=2**16)(_TABLE.find)  # codes come from outside


def medication(system: str, code: str) -> Medicine:
    """Ingredients and classes of a medicine code; both empty for one we cannot resolve."""
    return _lookup(SHORT_NAMES.get(system, ""), code)


def medication_labels() -> dict[str, str]:
    """Medication class -> our label."""
    return dict(_TABLE.labels)


def ingredients() -> tuple[str, ...]:
    """Every ingredient that a code can resolve to, sorted."""
    found = set(_TABLE.classes_of)
    found.update(*(of_product for of_product, _ in _TABLE.products.values()))
    return tuple(sorted(found))
