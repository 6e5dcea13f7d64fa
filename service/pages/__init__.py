"""The people's pages. `pages` is handed to the application factory."""

from service.pages import clinic, clinic_more, desk, me
from service.pages.blueprint import pages

__all__ = ["clinic", "clinic_more", "desk", "me", "pages"]
