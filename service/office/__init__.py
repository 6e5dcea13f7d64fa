"""The privacy officer's view of an installation."""

from service.office.office import Office

__all__ = ["Office"]
