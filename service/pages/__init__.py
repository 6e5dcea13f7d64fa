"""The people's pages. `service.pages.site` has all of them; the command line uses their words."""
