"""The pages of the repository, read as text: their fences, links and headings."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,})(?P<label>[\w-]*)\s*$")
PRINTS = "<!-- the block above prints -->"


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is where its text begins; `printed` says it is checked output."""

    page: str
    line: int
    label: str
    text: str
    printed: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> tuple[str, ...]:
    """Every Markdown file that belongs to the repository, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    # A template for a page is no page: its links are those of where it is written to.
    return tuple(
        name
        for name in listed.stdout.splitlines()
        if (ROOT / name).is_file() and name != "service/sandbox/page.md"
    )


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    return list(_blocks(page, read(page).splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    opened: re.Match[str] | None = None
    start, before = 0, ""
    for number, line in enumerate(lines, 1):
        found = FENCE.match(line)
        if opened is None:
            if found:
                opened, start = found, number + 1
            elif line.strip():
                before = line.strip()
        elif found and found["marks"] == opened["marks"] and not found["label"]:
            text = "\n".join(lines[start - 1 : number - 1]) + "\n"
            yield Block(page, start, opened["label"], text, before == PRINTS)
            opened, before = None, ""
    assert opened is None, f"{page}:{start}: this block is never closed"


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    kept, inside = [], False
    for line in read(page).splitlines():
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)\)")


def links(page: str) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return [found["target"] for found in LINK.finditer(text)]


def anchors(page: str) -> set[str]:
    """The anchors that a forge makes of the headings."""
    seen: dict[str, int] = {}
    found = set()
    for line in prose(page).splitlines():
        if not re.match(r"^#{1,6} ", line):
            continue
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip())
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found
