"""A twin as a summary to print: the patient's words and a clinician's names, on paper.

The page says by what it can be checked: a print is no proof, the signed twin is.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from service.office.blocks import Block, Facts, Report, Section, Table, Text
from service.pages import plainly, record, signals, words
from twin_engine.models.shelf import Expiry

Json = Mapping[str, Any]
_NONE: Mapping[str, Expiry] = MappingProxyType({})
TITLE = "Summary of a twin"
ABOUT = (
    "A twin is a copy of the health facts in a record, without a name, an address or a date. "
    "Times say how long before the twin was made something was. It is pseudonymous, not anonymous."
)
ESTIMATES = (
    "Calculators tell how often something happened to many people with values like these. They do "
    "not say what will happen to one person, and they make no diagnosis. A calculator never "
    "replaces the judgement of a clinician."
)
PROOF = (
    "This paper proves nothing. The signed twin does: anybody can check it without its issuer, "
    "with `twinport verify`, or on the page /verify of any installation. It has this digest."
)
DIGEST = "Digest"
NOT_READ = "Nothing in the record that was read. Some parts of it did not come in."
NONE = "None in the record that was read."


def summary_pdf(
    document: Json, cards: Mapping[str, Json], digest: str, ends: Mapping[str, Expiry] = _NONE
) -> bytes:
    """The same twin gives the same bytes on the same day. `ends`: by model, until when an answer
    holds."""
    from service.office.pdf import as_pdf  # 20 MB that no other page, and no command, needs

    return as_pdf(report(document, cards, digest, ends))


def report(
    document: Json, cards: Mapping[str, Json], digest: str, ends: Mapping[str, Expiry] = _NONE
) -> Report:
    head, about = record.header(document), document["twin"]
    sections = [
        Section("What this is", [Text(ABOUT), *_person(document, head.complete)]),
        Section("Illnesses and other findings", _list(record.conditions(document), document)),
        Section("Allergies", _list(record.allergies(document), document)),
        Section("Medicines", _list(record.medications(document), document)),
        *_optional("Operations and treatments", record.procedures(document), document),
        *_optional("Vaccines", record.vaccines(document), document),
        Section("Newest values", list(_values(document))),
        Section("What calculators say", [Text(ESTIMATES), *_answers(document, cards, ends)]),
        Section("How to check it", [Text(PROOF), Facts([(DIGEST, digest)], frozenset({DIGEST}))]),
    ]
    return Report(TITLE, f"Twin {about['id']}, version {about['version']}", sections)


def _person(document: Json, complete: bool) -> list[Block]:
    subject = document["subject"]
    came = "All parts that were asked for." if complete else "Some parts did not come in."
    return [
        Facts(
            [
                ("Sex", words.capital(words.plain(subject["sex"]))),
                ("Age", words.age(subject)),
                ("What was read", came),
            ]
        )
    ]


def _optional(title: str, items: Sequence[record.Item], document: Json) -> list[Section]:
    return [Section(title, _list(items, document))] if items else []


def _list(items: Sequence[record.Item], document: Json) -> list[Block]:
    if not items:
        return [Text(NONE if record.header(document).complete else NOT_READ)]
    rows = [(item.title, item.state, item.when) for item in items]
    return [Table("", ("What", "State", "When"), rows, (5, 3, 3))]


def _values(document: Json) -> Iterator[Block]:
    found = signals.sections(document)
    if not found:
        yield Text(NONE)
    for section in found:
        rows = [(one.title, f"{one.latest} {one.unit}", one.when) for one in section.signals]
        yield Table(section.title, ("What", "Value", "When"), rows, (5, 3, 3))


def _answers(
    document: Json, cards: Mapping[str, Json], ends: Mapping[str, Expiry]
) -> Iterator[Block]:
    for found in plainly.calculators(document, cards, ends):
        yield Text(found.title, strong=True)
        if found.stays:
            yield Text(found.stays)
        for block in found.blocks:
            for answer in block.answers:
                told = (answer.sentence, answer.other_side, answer.range)
                yield Text(f"{answer.title}. {' '.join(filter(None, told))}")
        for refused in found.refused:
            why = f"{refused.sentence} {refused.would_help}".strip()
            yield Text(f"{refused.title}: no number. {why}")
