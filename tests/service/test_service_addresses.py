"""Addresses are written as Werkzeug writes them, and nothing is worked out before one is."""

from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import pytest
from werkzeug.routing import BuildError, Map, Rule
from werkzeug.routing.map import MapAdapter

from service.addresses import LateRule

RULES = (
    ("/", "home", None),
    ("/twins/<twin>", "twin", None),
    ("/twins/<twin>/<int:version>", "twin", None),
    ("/pages/", "pages", {"number": 1}),
    ("/pages/<int:number>", "pages", None),
    ("/files/<path:name>", "files", None),
)
ASKED: tuple[tuple[str, dict[str, object]], ...] = (
    ("home", {}),
    ("home", {"self": "a b", "rule": "c&d"}),
    ("twin", {"twin": "ä/ö"}),
    ("twin", {"twin": "a", "version": 7}),
    ("twin", {"twin": "a", "version": 7, "more": [1, 2]}),
    ("pages", {"number": 1}),
    ("pages", {"number": 2}),
    ("files", {"name": "a/b c"}),
)


def addresses(kind: type[Rule]) -> MapAdapter:
    rules = [kind(path, endpoint=name, defaults=given) for path, name, given in RULES]
    return Map(rules).bind("example.org", "/under")


@pytest.mark.parametrize(("endpoint", "values"), ASKED)
def test_an_address_is_what_werkzeug_would_write(endpoint: str, values: dict[str, object]) -> None:
    usual, late = addresses(Rule), addresses(LateRule)
    for _ in range(2):  # worked out, then known
        for unknown in (True, False):
            wanted = usual.build(endpoint, values, append_unknown=unknown)
            assert late.build(endpoint, values, append_unknown=unknown) == wanted


def test_what_does_not_fit_is_refused_as_before() -> None:
    with pytest.raises(BuildError):
        addresses(LateRule).build("twin", {"version": 7})


def test_nothing_is_worked_out_before_it_is_asked_for() -> None:
    with patch.object(Rule, "_compile_builder", side_effect=AssertionError):
        assert addresses(LateRule).match("/twins/a/7") == ("twin", {"twin": "a", "version": 7})


def test_many_threads_may_ask_first() -> None:
    for _ in range(20):
        late = addresses(LateRule)
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(late.build, "twin", {"twin": "a"}) for _ in range(8)]
        assert {one.result() for one in asked} == {"/under/twins/a"}
