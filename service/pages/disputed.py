"""What the patient disputes, as marks beside what a clinician sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.pages import words
from service.patient.disputes import State, rests_on
from service.web.services import services
from twin_engine.document.lineage import source_ids

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Marks:
    """Each with what the patient says: by concept, by place on the page, by source; and by model,
    how many of its inputs are disputed."""

    concepts: Mapping[str, str] = field(default_factory=dict)
    anchors: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)


def marks(pseudonym: str, document: Json) -> Marks:
    desk = services().patient
    found = desk.disputes.of(pseudonym, document) if desk else []
    standing = [one for one in found if one.state is State.OPEN]
    if not standing:
        return Marks()
    ids = source_ids(document)
    said = {one.dispute.place: words.word("dispute", one.dispute.reason) for one in standing}
    return Marks(
        concepts={place.name: text for place, text in said.items()},
        anchors={f"f-{ids.index(place.source)}": text for place, text in said.items()},
        sources={place.source: text for place, text in said.items()},
        models=rests_on(document, standing),
    )
