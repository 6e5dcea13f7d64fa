"""Fixtures every suite may use."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("support.databases",)

# How quickly an example is drawn or run says how busy the machine is, and nothing about the code.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="Let the browser tests make docs/images anew."
    )
    parser.addoption(
        "--transcripts", action="store_true", help="Write the golden transcripts anew."
    )
