"""An export whose twins the ledger does not take makes none."""

import pytest
from bulk_scene import bulk, configure, exporting
from support.shell import Shell
from support.unrecorded import kept, stop_recording


@pytest.mark.slow
def test_without_the_entry_there_is_no_twin(shell: Shell) -> None:
    stop_recording(shell.home)
    with exporting() as sandbox:
        configure(shell.home, sandbox)
        ran = bulk(shell, "run", "main")
    assert ran.code != 0
    assert "Traceback" not in ran.err
    left = kept(shell.home)
    assert (left["twins"], left["vault"], left["outbox"], left["ledger"]) == (0, 0, 0, 0)
