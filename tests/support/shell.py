"""The command line as a person or a program uses it, in this process or in another."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.cli import execute

MAIN = "import sys; from service.cli import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)

    @property
    def jsons(self) -> list[Any]:
        return [orjson.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line a failed command says."""
        (line,) = self.err.splitlines()
        assert "Traceback" not in line
        return line.removeprefix("twinport: ")


@dataclass(frozen=True)
class Shell:
    """Commands over one home. The home's address must be in the environment of this process."""

    home: Path

    def __call__(self, *arguments: object, stdin: str = "") -> Ran:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
        before, sys.stdin = sys.stdin, io.StringIO(stdin)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = execute([str(argument) for argument in arguments])
        finally:
            sys.stdin = before
        return Ran(int(code), _text(out), _text(err))

    def process(self, *arguments: object) -> "subprocess.Popen[bytes]":
        """The same in a process of its own, which a test may kill."""
        return python("-c", MAIN, *arguments, home=self.home)


def python(
    *arguments: object, home: Path, settings: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "TWINPORT_HOME": str(home), **(settings or {})}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
