"""One installation for the tests that need one. It stands in the environment, so it ends with its
module."""

from collections.abc import Iterator

import pytest
from portable_issued import Issued, issue
from support.shell import Shell


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issued]:
    folder = tmp_path_factory.mktemp("portable")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(folder / "home"))
        yield issue(Shell(folder / "home"), folder)
