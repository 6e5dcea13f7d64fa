"""`twinport trust`."""

from service.cli.receive import trust_command as command

__all__ = ["command"]
