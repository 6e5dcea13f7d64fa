"""What is measured of the held twins and of one of them, as plain data."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from privacy.risk import ATTACKS, Crowd, diversity, measure, population_uniques
from privacy.thresholds import THRESHOLDS
from service.risk.rows import Document, facts, panel
from service.risk.settings import OWN, RiskError
from service.stores.risk import RiskSettings, Row

Json = dict[str, Any]

RESIDUAL = (
    "Pseudonymous, not anonymous: a person holding several of a patient's results could recognise "
    "the twin."
)
TARGETS = 200  # of the twins compared, so many are looked for


class Compared:
    """Twins whose contents are compared with each other."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.twins = [str(document["twin"]["id"]) for document in documents]
        self.facts = Crowd([facts(document) for document in documents])
        panels = [panel(document) for document in documents]
        self.panels = Crowd(panels)
        self.wide = [number for number, values in enumerate(panels) if len(values) > 1]
        self.sizes = [len(values) for values in panels]

    def __len__(self) -> int:
        return len(self.twins)


def held_report(
    classes: Mapping[Row, int],
    known: Sequence[tuple[Row, str]],
    compared: Compared,
    settings: RiskSettings,
) -> Json:
    """Of all held twins. `classes` and `known` are all of them, `compared` may be a sample."""
    found = measure(classes, wanted_k=settings.k, population=settings.people)
    targets = range(min(len(compared), TARGETS))
    return {
        "twins": found.records,
        "quasiIdentifiers": list(settings.knows),
        "classes": asdict(found),
        "sizes": sorted([size, number] for size, number in Counter(classes.values()).items()),
        "thresholds": thresholds(classes, settings),
        "diversity": _diversity(known, settings),
        "population": _population(classes, settings),
        "compared": len(compared),
        "attacks": attacks(compared, targets),
        "panels": _panels(compared),
        "remains": RESIDUAL,
    }


def twin_report(
    row: Row, classes: Mapping[Row, int], compared: Compared, twin: str, settings: RiskSettings
) -> Json:
    """Of one twin among those held; it is one of those compared."""
    size, place = classes[row], compared.twins.index(twin)
    people = settings.people
    outside = None if people is None else max(size, people.get(row, 0))
    return {
        "twin": twin,
        "quasiIdentifiers": list(settings.knows),
        "k": size,
        "prosecutor": 1 / size,
        "people": outside,
        "journalist": None if outside is None else 1 / outside,
        "threshold": settings.threshold,
        "wanted": settings.k,
        "met": size >= settings.k,
        "compared": len(compared),
        "attacks": attacks(compared, [place]),
        "panel": {
            "values": compared.sizes[place],
            "needed": compared.panels.needed([place])[0] if compared.sizes[place] else None,
        },
        "remains": RESIDUAL,
    }


def thresholds(classes: Mapping[Row, int], settings: RiskSettings) -> list[Json]:
    """Every published one and the one in use, against class sizes. `oneIn` is 1/k: where a figure
    is published beside it, the two are not the same, and it is sizes that are compared."""
    levels = [asdict(level) for level in THRESHOLDS]
    if settings.threshold == OWN:
        own = {"id": OWN, "risk": None, "k": settings.k, "use": "set here", "source": "set here"}
        levels.append(own)
    return [
        {
            **level,
            "oneIn": 1 / level["k"],
            "chosen": level["id"] == settings.threshold,
            "met": bool(classes) and min(classes.values()) >= level["k"],
            "below": measure(classes, wanted_k=level["k"]).below,
        }
        for level in levels
    ]


def attacks(compared: Compared, targets: Collection[int]) -> list[Json]:
    made = (compared.facts.attack(known, targets=targets) for known in ATTACKS)
    return [asdict(attack) for attack in made if attack is not None]


def _diversity(known: Sequence[tuple[Row, str]], settings: RiskSettings) -> Json | None:
    """Of diagnoses, as far as these are not known anyhow."""
    if "conditions" in settings.knows:
        return None
    found = diversity([row for row, _ in known], [conditions for _, conditions in known])
    return None if found is None else {"of": "conditions", **asdict(found)}


def _population(classes: Mapping[Row, int], settings: RiskSettings) -> Json | None:
    size = settings.population
    if size is None or not classes:
        return None
    try:
        found = population_uniques(classes, size)
    except ValueError as error:
        raise RiskError(str(error)) from None
    return {
        "size": size,
        "source": settings.source,
        "uniques": found.rounded,
        "estimator": found.estimator,
        "samplingFraction": found.fraction,
        "classesKnown": settings.people is not None,
    }


def _panels(compared: Compared) -> Json:
    """How many values of one day's results single out a twin among those compared."""
    needed = compared.panels.needed(compared.wide[:TARGETS])
    enough = [count for count in needed if count is not None]
    return {
        "panels": len(needed),
        "singledOut": len(enough),
        "medianValues": median(enough) if enough else None,
        "byOne": sum(count == 1 for count in enough),
        "byTwo": sum(count == 2 for count in enough),
        "needed": sorted([count, number] for count, number in Counter(enough).items()),
    }
