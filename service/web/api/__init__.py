"""The JSON API, version 1."""

from service.web.api import reviews, runs, twins, whatif
from service.web.api.blueprint import api

__all__ = ["api", "reviews", "runs", "twins", "whatif"]
