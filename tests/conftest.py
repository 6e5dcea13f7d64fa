"""Fixtures every suite may use."""

import pytest
from support import depth, whole

from service import collector

pytest_plugins = ("support.databases", "support.forge", "support.homes")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="Let the browser tests make docs/images anew."
    )
    parser.addoption(
        "--transcripts", action="store_true", help="Write the golden transcripts anew."
    )
    parser.addoption(
        "--deep", action="store_true", help="Try every property on all its examples, not a fifth."
    )
    parser.addoption(
        "--unshrunk",
        action="store_true",
        help="Show a failing example as found: sooner, not simpler.",
    )


def pytest_configure(config: pytest.Config) -> None:
    collector.relax()  # as in every process of ours, or a fifth of the time is spent on it
    depth.choose(deep=config.getoption("--deep"), shrink=not config.getoption("--unshrunk"))


def pytest_collection_finish() -> None:
    collector.settle()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    whole.mark(items)
    items.sort(key=lambda item: item.name != whole.LONGEST)
