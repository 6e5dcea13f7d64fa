"""Every command on a page works: `sh` blocks are run, the others are read against the programs."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest
from docs_pages import ROOT, Block, blocks, pages, prose, read
from docs_shell import PROGRAMS, PageFailedError, missing, run_page

from service.cli import cli

LABELS = {"sh", "console", "text", "json", "jsonc", "toml", "yaml", "python", "mermaid", "http"}
WITH_COMMANDS = [page for page in pages() if any(b.label == "sh" for b in blocks(page))]
INSTALLED = (
    "docs/verify.md"  # run with the program as it is installed; the others with a forged one
)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_of_the_page_runs(page: str, tmp_path: Path, forge: Path) -> None:
    found = blocks(page)
    programs = PROGRAMS if page == INSTALLED else forge
    printed = run_page([block for block in found if block.label == "sh"], tmp_path, programs)
    for shell, output in _outputs(found):
        lines = missing(output.text, printed[shell.line])
        assert not lines, f"{output.place}: not printed:\n{lines[0]}\nbut:\n{printed[shell.line]}"


def _outputs(found: list[Block]) -> Iterator[tuple[Block, Block]]:
    for before, block in pairwise(found):
        if block.printed:
            assert before.label == "sh", f"{block.place}: stands below no block that is run"
            yield before, block


def test_the_quick_start_is_run() -> None:
    assert {"docs/quick-start.md", INSTALLED} <= set(WITH_COMMANDS)


@pytest.mark.parametrize("page", [p for p in pages() if p.startswith("docs/")])
def test_every_block_says_what_it_is(page: str) -> None:
    unknown = [block.place for block in blocks(page) if block.label not in LABELS]
    assert not unknown, f"label these blocks with one of {sorted(LABELS)}: {unknown}"


def test_a_failing_command_fails_the_page(tmp_path: Path) -> None:
    found = [Block("page", 3, "sh", "true\n"), Block("page", 7, "sh", "echo before\nfalse\n")]
    with pytest.raises(PageFailedError, match="line 7 ended with 1\nbefore"):
        run_page(found, tmp_path)


def test_output_is_compared_line_by_line_in_order() -> None:
    said = "twin  abc version 1\n  kept 17\nend\n"
    assert not missing("twin … version 1\nend\n", said)
    assert missing("end\nkept …\n", said) == ["kept …"]


# -- commands that are shown but not run: placeholders, containers, what CI runs by itself ---------


def _shown() -> Iterator[tuple[str, str]]:
    """(where, command line) of every command in a block that is not output, or in the prose."""
    for page in pages():
        for block in blocks(page):
            if block.label in {"sh", "console", ""}:
                text = block.text.replace("\\\n", " ")
                yield from ((block.place, line.strip()) for line in text.splitlines())
        yield from ((page, code) for code in re.findall(r"`([^`\n]+)`", prose(page)))
        yield from ((page, line.strip()) for line in prose(page).splitlines() if line[:4] == "    ")


def _calls(program: str) -> list[tuple[str, list[str]]]:
    found = []
    for place, line in _shown():
        match = re.search(rf"(?:^|\$\(|\s)(?:\S*/)?{program} +(?P<rest>[a-z].*)$", line)
        if match and line.removeprefix(".venv/bin/").startswith((program, "KEY=", "$(")):
            found.append((place, _words(match["rest"])))
    return found


def _words(text: str) -> list[str]:
    text = re.split(r"[|&;)>#]| {2,}", text.replace("…", ""))[0]
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _problem(words: list[str]) -> str | None:
    """What is wrong with a `twinport` command line, judged by the parser's own tree."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return f"no command {words[0]}"
        command, words = found, words[1:]
    options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and name not in options | {"--help", "--version"}:
            return f"no option {name}"
    return None


def test_every_twinport_command_that_is_shown_exists() -> None:
    shown = _calls("twinport")
    wrong = {f"{place}: {problem}" for place, words in shown if (problem := _problem(words))}
    assert len(shown) > 30
    assert not wrong


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.M))
    shown = [(place, words[0]) for place, words in _calls("make")]
    assert len(shown) > 5
    assert not {f"{place}: {name}" for place, name in shown if name not in targets}


def test_every_python_module_that_is_shown_exists() -> None:
    named = {
        (place, found[1])
        for place, line in _shown()
        if (found := re.match(r"(?:\S*/)?python -m (\S+)", line))
    }
    ours = {(p, m) for p, m in named if (ROOT / m.partition(".")[0]).is_dir()}
    missing_modules = {
        f"{place}: {module}"
        for place, module in ours
        if not (ROOT / module.replace(".", "/") / "__main__.py").is_file()
        and not (ROOT / (module.replace(".", "/") + ".py")).is_file()
    }
    assert ours
    assert not missing_modules
