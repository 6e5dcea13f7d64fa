"""One installation for all tests of this folder: what is kept is kept per server."""

from collections.abc import Iterator

import pytest

from service.config import load_config
from service.pipeline.runtime import Runtime, open_runtime


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    home = tmp_path_factory.mktemp("home")
    opened = open_runtime(load_config({"TWINPORT_HOME": str(home)}))
    yield opened
    opened.close()
