"""`twinport models run`: rows of a file through a model, as a stream."""

import csv
import io
from pathlib import Path

import pytest
from support.shell import Ran, Shell

from service.cli.exits import Exit

HEAD = "age,sex,creatinine,note\n"
MARKER = "Zq7marker"


def run(shell: Shell, text: str, *more: str, model: str = "ckd-epi-2021") -> Ran:
    return shell("models", "run", model, "--in", "-", "--out", "-", *more, stdin=text)


def rows(ran: Ran) -> list[dict[str, str]]:
    assert (ran.code, ran.err) == (0, "")
    return list(csv.DictReader(io.StringIO(ran.out)))


def test_a_pipe_goes_through_and_other_columns_pass(shell: Shell) -> None:
    (row,) = rows(run(shell, HEAD + "50,female,1.0,mine\n"))
    assert row["note"] == "mine"
    # 142 x (1.0/0.7)^-1.200 x 0.9938^50 x 1.012 (Inker et al. 2021), by hand
    assert float(row["value"]) == pytest.approx(68.62, abs=0.2)


def test_files_are_read_and_written(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HEAD + "50,female,1.0,\n" * 3)
    out = tmp_path / "out.csv"
    ran = shell("models", "run", "ckd-epi-2021", "--in", tmp_path / "in.csv", "--out", out)
    assert (ran.code, ran.out) == (0, "")
    assert len(out.read_text().splitlines()) == 4


def test_an_empty_cell_is_unknown_and_refused_with_a_reason(shell: Shell) -> None:
    (row,) = rows(run(shell, HEAD + "50,female,,\n"))
    assert (row["value"], row["refusal"]) == ("", "missing-input:creatinine")


def test_no_rows_still_give_a_header(shell: Shell) -> None:
    ran = run(shell, HEAD)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD + f"50,female,1.0,a,{MARKER}\n",
        HEAD + f"50,{MARKER}\n",
        HEAD + f"50,female,{MARKER},\n",
        HEAD + f"50,{MARKER},1.0,\n",
        HEAD + f'50,female,1.0,"{MARKER}\n',
    ],
    ids=["empty", "long line", "short line", "no number", "no such word", "open quote"],
)
def test_a_bad_line_is_named_by_its_number_and_not_quoted(shell: Shell, text: str) -> None:
    ran = run(shell, text)
    assert MARKER not in ran.err
    if ran.code == 0:
        assert "unclosed" not in ran.out
    else:
        assert ran.code == Exit.INPUT
        assert ran.error


def test_bytes_that_are_no_text_are_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(HEAD.encode() + b"\xff\xfe\x00\n")
    ran = shell("models", "run", "ckd-epi-2021", "--in", tmp_path / "in.csv", "--out", "-")
    assert ran.code == Exit.INPUT
    assert ran.error


@pytest.mark.parametrize(
    "more", [("--variant", "nope"), ("--horizon", "7")], ids=["variant", "horizon"]
)
def test_an_unknown_variant_or_horizon_is_refused(shell: Shell, more: tuple[str, ...]) -> None:
    ran = run(shell, HEAD + "50,female,1.0,\n", *more, model="prevent")
    assert ran.code == Exit.USAGE
    assert ran.error


def test_an_output_that_cannot_be_written_is_one_line(shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(HEAD + "50,female,1.0,\n")
    ran = shell("models", "run", "ckd-epi-2021", "--in", source, "--out", source / "x")
    assert ran.code == Exit.SETUP
    assert ran.error
