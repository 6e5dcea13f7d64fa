"""Numbers and sentences for people. Words come from our own tables, never from a source."""

import html
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mappings.vocabulary.concept_table import concepts
from mappings.vocabulary.units import unit_label

_LABELS = {concept.id: concept.label for concept in concepts()}
_DECIMALS = {concept.id: concept.decimals for concept in concepts()}
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

# Words that are not written in lower case.
_SHORT = {"bp": "blood pressure", "hdl": "HDL", "ldl": "LDL", "cvd": "CVD", "sdi": "SDI"}

# Kinds of interval; a kind that is not here is named by its own word.
_INTERVALS = {"if-measured-again": "Range if measured again"}


def plain(word: str) -> str:
    """An id as words."""
    return word.replace("-", " ")


def label(name: str) -> str:
    """What an input is called: the concept's label, or the input's own name."""
    return _LABELS.get(name) or _title(name)


def _title(name: str) -> str:
    words = [_SHORT.get(word, word) for word in name.split("-")]
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]])


def unseen(assessment: Mapping[str, Any]) -> str:
    """What may stand in a slice that is not complete: `Diabetes, On statin (MedicationRequest)`."""
    named: dict[tuple[str, ...], list[str]] = {}
    for row in assessment.get("unseen", ()):
        named.setdefault(tuple(row["slices"]), []).append(label(row["input"]))
    return "; ".join(f"{', '.join(n)} ({', '.join(slices)})" for slices, n in named.items())


def measured(value: float, unit: str) -> str:
    """A number with its unit as people write it."""
    return f"{number(value)} {unit_label(unit)}".rstrip()


def percent(probability: float) -> float:
    """A probability in percent with the digits that mean something: 14.2, 0.43, 0.012."""
    if not 0 <= probability <= 1:
        raise ValueError("a probability lies between 0 and 1")
    value = probability * 100
    return round(value, 1) if value >= 1 else float(f"{value:.2g}")


def probability_decimal(probability: float, scale: str) -> float:
    """The number to write: percent as R4 defines it, or the same digits as a fraction."""
    value = percent(probability)
    return value if scale == "percent" else float(f"{value / 100:.6g}")


def number(value: float) -> str:
    """A number as people write it: no exponent, no trailing zeros."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return text or "0"


def spelled(probability: float) -> str:
    return f"{number(percent(probability))} %"


def interval_sentence(result: Mapping[str, Any], show: Callable[[float], str]) -> str:
    """The interval, named for what it is; or that there is none, and why."""
    interval = result.get("interval")
    if interval is None:
        refused = result.get("intervalRefused")
        return f"No interval: {plain(str(refused))}." if refused else ""
    name = _INTERVALS.get(interval["kind"], plain(interval["kind"]).capitalize())
    level = number(interval["level"] * 100)
    return f"{name}: {show(interval['low'])} to {show(interval['high'])} ({level} %)."


def input_phrase(entry: Mapping[str, Any]) -> str:
    """One input as a phrase: `Systolic blood pressure 148 mmHg`."""
    value = entry["value"]
    if isinstance(value, bool):
        return f"{label(entry['input'])}: {'yes' if value else 'no'}"
    if isinstance(value, str):
        return f"{label(entry['input'])}: {plain(value)}"
    shown = round(value, _DECIMALS.get(entry["input"], 2))
    return f"{label(entry['input'])} {measured(shown, entry.get('unit', ''))}"


def inputs_sentence(inputs: Iterable[Mapping[str, Any]]) -> str:
    phrases = [input_phrase(entry) for entry in inputs]
    return f"From: {'; '.join(phrases)}." if phrases else ""


def paragraph(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def horizon_words(result: Mapping[str, Any]) -> str:
    years = result.get("horizonYears")
    return f", {number(years)} years" if years is not None else ""


def narrative(paragraphs: Iterable[str]) -> dict[str, str]:
    """A generated narrative; every text is escaped."""
    body = "".join(f"<p>{escaped(text)}</p>" for text in paragraphs if text)
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{body}</div>',
    }


def escaped(text: str) -> str:
    return html.escape(_NOT_XML.sub("", text))
