"""Runs tests over changed copies of the room: pytest and what it takes are loaded once, every run
is a process of its own that loads the copy.

A line of JSON in: the folder of the copy, where to write what pytest says, its arguments. A line
out: how it ended. Nothing of ours may be loaded here: it would not be that of the copy.
"""

import importlib
import json
import os
import sys
import traceback

import pytest

LOADED = ("_hypothesis_pytestplugin", "hypothesis.strategies", "joserfc.jws", "numpy", "orjson")


def run(folder: str, output: str, arguments: list[str]) -> int:
    process = os.fork()
    if process == 0:
        stream = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.chdir(folder)
        sys.path.insert(0, folder)
        try:
            ended = int(pytest.main(arguments))
        except BaseException:  # noqa: BLE001 - told, and not taken for a test that failed
            traceback.print_exc()
            ended = pytest.ExitCode.INTERNAL_ERROR
        sys.stdout.flush()
        os._exit(ended)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    ours = {"mappings", "privacy", "service", "twin_engine"} & set(sys.modules)
    assert not ours
    for line in sys.stdin:
        ended = run(*json.loads(line))
        sys.stdout.write(f"{ended}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
