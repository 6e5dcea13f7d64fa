"""`twinport config`: where things are, and whether the configuration holds."""

import click

from service.config import load_config


@click.command("config")
def command() -> None:
    """Check the configuration and say where everything lies. Secrets are never shown.

    Read from TWINPORT_HOME/twinport.toml (or the file TWINPORT_CONFIG names), then from
    environment variables such as TWINPORT_WEB__PORT; docs/operations.md lists every setting.
    """
    config = load_config()
    backend = config.database_url.partition("://")[0]
    rows = {
        "home": str(config.home),
        "keys": str(config.keys_dir),
        "database": backend if config.database.url else str(config.home / "twinport.db"),
        "policy": config.policy.default,
        "servers": ", ".join(sorted(config.servers)) or "none configured",
        "address": config.web.origin,
        "sign-in by token": "on" if config.oauth.issuer else "off",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name.ljust(width)}  {value}")
