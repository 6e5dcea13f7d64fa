"""A fresh installation for each module; it stands in the environment."""

from collections.abc import Iterator

import pytest
from support.issuer import Home, home


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(tmp_path_factory.mktemp("sharing")))
        environment.setenv("TWINPORT_WEB__REQUESTS_PER_MINUTE", "100000")
        made = home()
        yield made
        made.runtime.close()
