"""`twinport erase`."""

from service.cli.reidentify import erase_command as command

__all__ = ["command"]
