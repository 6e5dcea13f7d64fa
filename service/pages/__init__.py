"""The people's pages. `pages` is handed to the application factory."""

from service.pages import clinic, desk, me
from service.pages.blueprint import pages

__all__ = ["clinic", "desk", "me", "pages"]
