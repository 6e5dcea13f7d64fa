"""A third party's package: built, installed beside ours, found, and held to the contract."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "sklearn-model"
MAIN = "import sys; from service.cli import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder the package was installed into; this installation is left alone."""
    place = tmp_path_factory.mktemp("plugin")
    source, target = place / "source", place / "site"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--no-build-isolation", "--disable-pip-version-check",
         "--target", str(target), str(source)],
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return target


def twinport(site: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    home = site.parent / "home"
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        capture_output=True,
        cwd=ROOT,
        check=False,
        env=os.environ | {"PYTHONPATH": str(site), "TWINPORT_HOME": str(home)},
    )


@pytest.mark.slow
def test_an_installed_package_is_found_through_its_entry_point(installed: Path) -> None:
    ran = twinport(installed, "models", "list", "--json")
    known = {one["id"] for one in orjson.loads(ran.stdout)}
    assert {"made-up-event", "prevent"} <= known


@pytest.mark.slow
def test_it_keeps_the_contract(installed: Path) -> None:
    ran = twinport(installed, "models", "check", "made-up-event")
    assert ran.stdout.decode() == "made-up-event 0.1.0: conforms\n"
    assert ran.returncode == 0


@pytest.mark.slow
def test_it_answers_rows_with_a_range_and_refuses_with_a_reason(
    installed: Path, tmp_path: Path
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text("age,systolic-bp,smoking-current\n50,150,1\n29,150,1\n50,,1\n")
    ran = twinport(
        installed, "models", "run", "made-up-event", "--in", str(rows), "--out", str(out)
    )
    assert ran.returncode == 0
    first, second, third = (line.split(",") for line in out.read_text().splitlines()[1:])
    value, low, high = (float(first[column]) for column in (4, 6, 7))
    assert 0 < low <= value <= high < 1
    assert second[-1] == "out-of-range:age"
    assert third[-1] == "missing-input:systolic-bp"


@pytest.mark.slow
def test_it_says_that_it_is_made_up(installed: Path) -> None:
    told = twinport(installed, "models", "card", "made-up-event").stdout.decode()
    assert "An event that does not exist" in told
