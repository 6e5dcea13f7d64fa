"""Typed configuration: ``load_config()`` gives a frozen ``Config`` or raises ``ConfigError``."""

from service.config.errors import ConfigError, Problem
from service.config.loader import load_config
from service.config.sections import (
    Config,
    Database,
    Jobs,
    Limits,
    Logging,
    Models,
    OAuth,
    Policy,
    Project,
    Server,
    ServerAuth,
    Web,
)

__all__ = [
    "Config",
    "ConfigError",
    "Database",
    "Jobs",
    "Limits",
    "Logging",
    "Models",
    "OAuth",
    "Policy",
    "Problem",
    "Project",
    "Server",
    "ServerAuth",
    "Web",
    "load_config",
]
