"""What `make test` leaves to CI is there, and so is the one of each kind that it keeps."""

import ast

from support.whole import ALWAYS, LONGEST, files


def test_every_suite_that_is_named_exists() -> None:
    assert not [path.name for path in files() if not path.is_file()]


def test_one_of_a_kind_is_a_test_of_those_suites() -> None:
    found = {
        node.name
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert found >= {*ALWAYS, LONGEST}
