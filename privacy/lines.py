"""Records of known forms as lines of FHIR, without showing each of them anew.

What all lines of one form have in common (`privacy.forms`) their records have in common too, and so
has what is shown of them: text that is written once. Between stand an id, references, times and
numbers, which are shown as the renderer shows them.

How the records of a form are written is learned from one that the renderer has shown, and believed
only if it writes that one the same, byte for byte. Of a record of which more or less is shown than
of that one (a time that is not precise enough for its type), the renderer decides.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from privacy.deidentify import Session
from privacy.elements import QUANTITIES, elements_of, owner_of
from privacy.forms import FORMS, Form, Leaves, Path, Record
from privacy.guards import Codings
from privacy.plans import NotPlanned, defined
from privacy.render import NUMBERS, OBSERVED, TIMES, Renderer, rounded, significant

# Lines of one form; None where the renderer has to show the record.
Write = Callable[[Renderer, Sequence[Leaves]], list[bytes | None]]
_MEASURED = QUANTITIES - {"Age"}


class Slot(NamedTuple):
    """A place where records of one form differ."""

    path: Path  # in the record, and in what is shown of it
    type: str  # of the element there; of numbers, "number"
    decimals: int | None = None  # of a number, those that mean anything


class Lines:
    """How the records of one policy's forms are written. Threads share it; nothing of any patient:
    a form holds nothing of one either."""

    def __init__(self) -> None:
        # By the form's own number, which nothing else can have while it is held.
        self._known: dict[int, tuple[Form, Write | None]] = {}

    def written(
        self, session: Session, renderer: Renderer, form: Form, some: Sequence[Leaves]
    ) -> list[bytes]:
        """The lines of records of one form of which these are the leaves."""
        if not some:
            return []
        found = self._known.get(id(form))
        if found is None:
            if len(self._known) >= FORMS:
                self._known.clear()
            found = self._known[id(form)] = (form, _learned(session, renderer, form, some[0]))
        write = found[1]
        lines = [None] * len(some) if write is None else write(renderer, some)
        return [
            line or _shown(renderer, form, leaves) for line, leaves in zip(lines, some, strict=True)
        ]


def _shown(renderer: Renderer, form: Form, leaves: Leaves) -> bytes:
    return orjson.dumps(renderer.resource(form.place(leaves, form.record)))


def _learned(session: Session, renderer: Renderer, form: Form, leaves: Leaves) -> Write | None:
    shown = renderer.resource(form.place(leaves, form.record))
    try:
        write = _writer(session, form, shown)
    except NotPlanned:
        return None
    return write if write(renderer, [leaves]) == [orjson.dumps(shown)] else None


def slots_of(form: Form, session: Session) -> Iterator[Slot]:
    """The places that a form leaves empty."""
    return _slots(form.record, form.type, (), (), session)


def _slots(
    node: Record, owner: str, path: Path, codes: Codings, session: Session
) -> Iterator[Slot]:
    if owner in OBSERVED:  # values are rounded as the codes they stand under say
        codes = node.get("code", {}).get("coding", ())
    for key, value in node.items():
        if key == "resourceType":
            continue
        element = elements_of(owner)[key]
        inner = owner_of(owner, key, element)
        for step, item in _items(key, value):
            if item is None:
                yield Slot((*path, *step), _type_of(element.type))
            elif element.type in _MEASURED:
                yield from _measured(item, (*path, *step), codes, session)
            elif type(item) is dict:
                yield from _slots(item, inner, (*path, *step), codes, session)


def _items(key: str, value: Any) -> list[tuple[Path, Any]]:
    if type(value) is list:
        return [((key, at), item) for at, item in enumerate(value)]
    return [((key,), value)]


def _type_of(kind: str) -> str:
    if kind in NUMBERS:
        return "number"
    if kind in {"id", "Reference"} | TIMES:
        return kind
    raise NotPlanned


def _measured(quantity: Record, path: Path, codes: Codings, session: Session) -> Iterator[Slot]:
    empty = [key for key, value in quantity.items() if value is None]
    if empty == ["value"]:
        yield Slot((*path, "value"), "number", session.decimals(codes, quantity))
    elif empty:
        raise NotPlanned


# Writing ------------------------------------------------------------------------------------------


def _writer(session: Session, form: Form, shown: Record) -> Write:
    slots = list(slots_of(form, session))
    hidden = [slot for slot in slots if _at(shown, slot.path) is None]
    if any(slot.type not in TIMES for slot in hidden):
        raise NotPlanned
    seen = [slot for slot in slots if slot not in hidden]
    pieces, order = _around(shown, seen)
    return _function(form, pieces, [seen[at] for at in order], hidden, session.policy.files.digits)


def _at(node: Any, path: Path) -> Any:
    try:
        for key in path:
            node = node[key]
    except (KeyError, IndexError):
        return None
    return node


def _around(shown: Record, slots: Sequence[Slot]) -> tuple[list[str], list[int]]:
    """What stands before, between and after the slots; and in which order these stand."""
    token = secrets.token_hex(16)  # stands in no text
    marks = {slot.path: f"{token}-{at}-" for at, slot in enumerate(slots)}
    text = orjson.dumps(_marked(shown, (), marks)).decode()
    head, *rest = text.split(f'"{token}-')
    parts = [part.split('-"', 1) for part in rest]
    return [head, *(after for _, after in parts)], [int(at) for at, _ in parts]


def _marked(node: Any, path: Path, marks: Mapping[Path, str]) -> Any:
    """A copy with marks in the slots."""
    if path in marks:
        return {"reference": marks[path]} if type(node) is dict else marks[path]
    if type(node) is dict:
        return {key: _marked(inner, (*path, key), marks) for key, inner in node.items()}
    if type(node) is list:
        return [_marked(inner, (*path, at), marks) for at, inner in enumerate(node)]
    return node


def _function(
    form: Form, pieces: Sequence[str], slots: Sequence[Slot], hidden: Sequence[Slot], digits: int
) -> Write:
    leaf = {path: f"v{at}" for at, path in enumerate(form.paths)}
    met = {slot.type for slot in (*slots, *hidden)}
    inner = [line for slot in hidden for line in _unshown(slot, leaf[slot.path])]
    parts = [repr(pieces[0])]
    for slot, after in zip(slots, pieces[1:], strict=True):
        name = leaf[slot.path]
        inner += _written(slot, name, digits)
        quote = "" if slot.type == "number" else '"'
        parts[-1:] = [f"{parts[-1]} {quote!r}", name, repr(quote + after)]
    inner.append(f"lines.append(''.join(({', '.join(parts)})).encode())")
    text = [
        "def write(renderer, some):",
        *(f"    {line}" for kind, line in _LOOKED_UP.items() if kind in met),
        "    lines = []",
        f"    for {''.join(f'{name}, ' for name in leaf.values()) or '_'} in some:",
        *(f"        {line}" for line in inner),
        "    return lines",
    ]
    names: dict[str, Any] = {"dumps": orjson.dumps, "rounded": rounded, "significant": significant}
    write: Write = defined("\n".join(text), "line", names)["write"]
    return write


# Of a renderer, once for many lines.
_LOOKED_UP = {
    "id": "ids = renderer.ids",
    "Reference": "references = renderer.references",
    **{kind: f"{kind} = renderer.times[{kind!r}]" for kind in sorted(TIMES)},
}


def _time(slot: Slot, name: str) -> str:
    return f"{slot.type}[tuple({name})]"


def _unless(wrong: str) -> list[str]:
    return [f"if {wrong}:", "    lines.append(None)", "    continue"]


def _unshown(slot: Slot, name: str) -> list[str]:
    return _unless(f"{_time(slot, name)} is not None")


def _written(slot: Slot, name: str, digits: int) -> list[str]:
    if slot.type == "id":
        return [f"{name} = ids.get({name}) or renderer.id({name})"]
    if slot.type == "Reference":
        known = f"references.get({name}['reference'])"
        return [f"{name} = ({known} or renderer.reference({name}))['reference']"]
    if slot.type in TIMES:
        return [f"{name} = {_time(slot, name)}", *_unless(f"{name} is None")]
    exact = "" if slot.decimals is None else f"rounded({name}, {slot.decimals}) or "
    return [f"{name} = dumps({exact}significant({name}, {digits})).decode()"]
