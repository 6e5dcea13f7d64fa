"""All pages: `pages`, `own`, `officer` and `viewer` are handed to the application factory."""

from service.pages import clinic, clinic_more, clinic_review, me
from service.pages.blueprint import pages
from service.pages.officer import officer
from service.pages.own import own
from service.pages.viewer import viewer

__all__ = ["clinic", "clinic_more", "clinic_review", "me", "officer", "own", "pages", "viewer"]
