"""The version of the installed software."""

from importlib.metadata import version

SOFTWARE = version("twinport")
