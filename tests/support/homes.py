"""An installation that was opened once: tests start from copies of it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its keys and an empty database. What it takes is loaded only where it is asked for."""
    from service.config import load_config
    from service.pipeline.runtime import open_runtime

    home = tmp_path_factory.mktemp("made") / "home"
    open_runtime(load_config({"TWINPORT_HOME": str(home)})).close()
    return home
