"""Prints the generated files: `python -m twin_engine.document schema` or `... docs`."""

import sys
from collections.abc import Callable

from twin_engine.document.docs import page
from twin_engine.document.schema import published

PRINTED: dict[str, Callable[[], bytes]] = {"schema": published, "docs": lambda: page().encode()}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PRINTED:
        sys.stderr.write(f"usage: python -m twin_engine.document {{{','.join(PRINTED)}}}\n")
        return 2
    sys.stdout.buffer.write(PRINTED[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
