"""One installation for the whole session; the pages only read."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pages_site import (
    AWKWARD,
    DIED,
    FULL,
    PARTIAL,
    REFUSED,
    STALE,
    Site,
    make_small_home,
    running_site,
    small_site,
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("pages-site")
    with running_site(home, (FULL, PARTIAL, REFUSED, STALE, DIED, AWKWARD)) as running:
        yield running


@pytest.fixture
def empty_site(tmp_path: Path) -> Iterator[Site]:
    """Nothing has been run yet."""
    with running_site(tmp_path / "home", ()) as running:
        yield running


@pytest.fixture(scope="session")
def document(site: Site) -> Callable[[str], Mapping[str, Any]]:
    return lambda patient: site.service.document(site.twins[patient])


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("pages-small") / "home"
    return home, make_small_home(home)


@pytest.fixture
def acting(small_home: tuple[Path, str], tmp_path: Path) -> Iterator[Site]:
    """An installation of its own, for what changes something: a copy of one made once."""
    home = tmp_path / "home"
    shutil.copytree(small_home[0], home)
    with small_site(home, small_home[1]) as running:
        yield running
