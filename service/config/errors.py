"""What is wrong with a configuration: path, reason, next step. Never the value itself."""

from collections.abc import Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing wrong with the configuration."""

    path: str
    reason: str
    next_step: str = ""
    origin: str = ""

    def __str__(self) -> str:
        place = f"{self.path} (from {self.origin})" if self.origin else self.path
        step = f" Next: {self.next_step}." if self.next_step else ""
        return f"{place}: {self.reason.rstrip('.')}.{step}"


class ConfigError(Exception):
    """The configuration was refused; ``problems`` lists everything found, not the first only."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
