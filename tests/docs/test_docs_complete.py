"""What there is, is documented: commands, settings, models, policies, problems."""

import re
import tomllib

import pytest
from docs_pages import ROOT, anchors, blocks, read

from privacy.policy import policy_ids
from service.cli import docs
from service.config.table import kinds, markdown
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
