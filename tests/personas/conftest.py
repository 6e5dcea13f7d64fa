"""One installation for all tests of this folder: what is kept is kept per server."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from service.config import Logging, load_config
from service.pipeline.runtime import Runtime, open_runtime
from service.web.logs import configure_logging


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    home = tmp_path_factory.mktemp("home")
    opened = open_runtime(load_config({"TWINPORT_HOME": str(home)}))
    yield opened
    opened.close()


@pytest.fixture
def debug_log() -> Iterator[io.StringIO]:
    """What an operator sees who has switched everything on."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    configure_logging(Logging(level="debug"), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
