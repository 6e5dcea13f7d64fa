"""docs/twin-document.md, made from the schema, the texts of parts.toml and one worked example."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import orjson

from twin_engine.document.schema import MEDIA_TYPE, SCHEMA_ID, schema

Node = Mapping[str, Any]

# Objects of which every name is a word of a list: the words stand elsewhere.
ENUMERATED = frozenset({"dropped", "notRead", "parameters"})
# Longer lists of words are not spelled out, nor counted: a new word is no reason for a new page.
FEW = 16


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads(_packaged("parts.toml").decode())


@cache
def example() -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads(_packaged("example.json"))
    return loaded


def _packaged(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()


def page() -> str:
    """The whole page."""
    sections = [_section(name, node) for name, node in schema()["properties"].items()]
    head = _texts()["page"]["head"].format(media=MEDIA_TYPE, id=SCHEMA_ID)
    return "\n".join([head, *sections])


def _section(name: str, node: Node) -> str:
    text = _texts()["part"][name]
    rows = [f"| `{path}` | {kind} | {note} |" for path, kind, note in fields(name, node)]
    table = ["", "| field | holds | meaning |", "|---|---|---|", *rows] if rows else []
    shown = _wrapped({name: example()[name]})
    return "\n".join(
        [f"## {text['title']}: `{name}`", "", text["text"], *table, "", "```json", shown, "```", ""]
    )


def fields(part: str, node: Node) -> Iterator[tuple[str, str, str]]:
    """Every field of a part: its path, what it holds, what it means. Optional ones end in `?`."""
    if part in ("signals", "coded"):  # one shape for every concept
        node = {"$ref": "#/$defs/signal" if part == "signals" else "#/$defs/answers"}
        yield from _fields(_resolved(node), (part, "*"))
    else:
        yield from _fields(_resolved(node), (part,))


def _fields(node: Node, path: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    while node.get("type") == "array":
        node, path = _resolved(node["items"]), (*path[:-1], path[-1] + "[]")
    required = node.get("required", ())
    for name, inner in node.get("properties", {}).items():
        inner = _resolved(inner)
        here = (*path, name)
        shown = ".".join(here[1:]) if len(here) > 1 else name
        yield shown + ("" if name in required else "?"), _holds(inner), note(here)
        if name not in ENUMERATED:
            yield from _fields(inner, here)


def _resolved(node: Node) -> Node:
    if "$ref" in node:
        found: Node = schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return found
    return node


def note(path: tuple[str, ...]) -> str:
    """The text of a field: the most particular one there is. KeyError for a field without any."""
    notes = _texts()["fields"]
    names = [step.removesuffix("[]") for step in path if step != "*"]
    name = next(".".join(names[i:]) for i in range(len(names)) if ".".join(names[i:]) in notes)
    return str(notes[name]).replace("|", "\\|")


def _holds(node: Node) -> str:
    node = _resolved(node)
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return _words(node["enum"])
    if "anyOf" in node:
        return ", or ".join(_holds(inner) for inner in node["anyOf"])
    if "patternProperties" in node:
        (inner,) = node["patternProperties"].values()
        return f"position → {_holds(inner)}"
    return _by_type(node)


def _by_type(node: Node) -> str:
    if "pattern" in node:
        pattern = node["pattern"].replace("|", "\\|")
        text = f"`{pattern}`" if len(pattern) < 100 else "text of one fixed form"
        return text + (" or null" if "null" in node["type"] else "")
    if node["type"] == "array":
        return f"list of {_holds(node['items'])}"
    kind: str = node["type"]
    return {"integer": "whole number", "boolean": "true or false"}.get(kind, kind)


def _words(words: list[str]) -> str:
    if len(words) > FEW:
        return "a word of our list"
    return " ".join(f"`{word}`" for word in words)


def _wrapped(value: Any, indent: int = 0, width: int = 110) -> str:
    """JSON with short objects and lists on one line."""
    flat = _flat(value)
    if len(flat) + indent <= width or not isinstance(value, dict | list) or not value:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        inner = [f"{_flat(key)}: {_wrapped(item, indent + 2)}" for key, item in value.items()]
    else:
        inner = [_wrapped(item, indent + 2) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{pad}" + f",\n{pad}".join(inner) + f"\n{' ' * indent}{closing}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(k)}: {_flat(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    return orjson.dumps(value).decode()
