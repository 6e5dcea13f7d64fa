"""What there is, is documented: commands, settings, models, policies, problems."""

import re
import tomllib

import pytest
from docs_pages import ROOT, anchors, blocks, pages, read

from privacy.policy import policy_ids
from service.cli import docs
from service.config.table import kinds, markdown
from service.fhir.kinds import KINDS
from twin_engine.models.registry import all_models


def test_the_page_of_commands_is_current() -> None:
    assert read(str(docs.PAGE)) == docs.render(), "run: python -m service.cli.docs"


def test_every_command_is_on_it() -> None:
    headings = anchors(str(docs.PAGE))
    assert not {name for name, _ in docs.commands() if name.replace(" ", "-") not in headings}


def test_every_setting_is_in_operations() -> None:
    assert markdown() in read("docs/operations.md"), "run: python -m service.config"


@pytest.mark.parametrize("model", all_models())
def test_every_model_has_its_page(model: str) -> None:
    assert f"({model}.md)" in read("docs/models/index.md")
    assert (ROOT / f"docs/models/{model}.md").is_file()


@pytest.mark.parametrize("policy", policy_ids())
def test_every_policy_is_explained(policy: str) -> None:
    assert f"| `{policy}`" in read("docs/privacy.md")


def test_security_names_files_and_tests_that_exist() -> None:
    text = read("SECURITY.md")
    named = set(
        re.findall(r"`((?:privacy|service|mappings|twin_engine|tests|tools)/[\w./*-]*)`", text)
    )
    assert len(named) > 30
    assert not {name for name in named if not list(ROOT.glob(name.rstrip("/")))}
    tests = set(re.findall(r"`(test_\w+)`", text))
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(tests) > 20
    assert not {name for name in tests if f"def {name}(" not in source}


def test_every_setting_that_is_shown_exists() -> None:
    known = {path.replace("<name>", "*") for path in kinds()}
    for page in ("docs/connect-your-server.md", "docs/operations.md"):
        for block in blocks(page):
            if block.label == "toml":
                unknown = set(_leaves(tomllib.loads(block.text))) - known
                assert not unknown, block.place


def _leaves(tree: dict[str, object], path: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        here = f"{path}{'*' if path == 'servers.' else key}"
        found += _leaves(value, f"{here}.") if isinstance(value, dict) else [here]
    return found


def test_every_variable_that_is_shown_is_a_setting() -> None:
    """In pages and container files. `TWINPORT_A__B` is the setting `a.b`."""
    known = {path.replace("<name>", "*") for path in kinds()}
    files = [*pages(), "compose.yaml", "Dockerfile", "Makefile"]
    shown = {
        (file, name)
        for file in files
        for name in re.findall(r"\bTWINPORT_([A-Z]+(?:__?[A-Z]+)+)\b", read(file))
        if "__" in name
    }
    paths = {(file, name.lower().replace("__", ".")) for file, name in shown}
    assert len(paths) > 30
    assert not {f"{f}: {path}" for f, path in paths if _any_server(path) not in known}


def _any_server(path: str) -> str:
    return re.sub(r"^servers\.\w+\.", "servers.*.", path)


def test_every_type_that_is_asked_for_is_named() -> None:
    page = read("docs/connect-your-server.md")
    assert not [kind for kind in KINDS if not re.search(rf"\b{kind}\b", page)]


def test_every_reason_that_is_explained_can_occur() -> None:
    table = read("docs/connect-your-server.md").partition("| reason |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    shown = {word for cell in rows for word in re.findall(r"`([a-z-]+)`", cell)}
    words = tomllib.loads(read("twin_engine/document/words.toml"))["shortfall"]["words"]
    assert len(shown) > 10
    assert not shown - set(words)
