"""The demo is the first thing anybody runs: it must say what it promises, and leave nothing."""

import re
from pathlib import Path

import pytest
from support.shell import Shell

PROMISED = (
    "demo-001", "demo-002", "demo-003", "pulled ", "kept ", "predicted ", "refused ", "written ",
    "nothing was written twice", "the same to the last digit", "/sign-in",
)  # fmt: skip


@pytest.mark.slow
def test_the_demo_shows_the_whole_path_and_leaves_nothing(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = shell.process("demo").communicate(timeout=900)
    said = done[0].decode()
    assert [word for word in PROMISED if word not in said] == []
    for role in ("ehr", "patient", "privacy-officer"):
        assert re.search(rf"^ +{role} +[0-9A-Z]{{5}}(-[0-9A-Z]{{5}}){{3}} ", said, re.M), role
    assert list(tmp_path.glob("twinport-demo-*")) == []
