"""`twinport serve`: the service under gunicorn."""

import os
import sys

import click

from service.cli.output import say

GUNICORN = ("-c", "python:service.gunicorn_conf", "service.wsgi:build()")


@click.command("serve")
@click.option("--host", help="Address to listen on, instead of `web.host`.")
@click.option("--port", type=int, help="Port to listen on, instead of `web.port`.")
@click.option("--workers", type=int, help="Worker processes, instead of `web.workers`.")
def command(host: str | None, port: int | None, workers: int | None) -> None:
    """Run the service until it is told to stop. Unfinished runs are taken up again.

    Pages at /, API at /api/v1, FHIR façade at /fhir, its description at /docs. For the first
    sign-in: `twinport keys sign-in --role ehr`.
    """
    _override("HOST", host)
    _override("PORT", port)
    _override("WORKERS", workers)
    say_where()
    # Become gunicorn rather than start it: signals of a container or systemd reach it directly.
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *GUNICORN])  # noqa: S606


def _override(name: str, value: object) -> None:
    """The command line is one more way to set what the environment sets."""
    if value is not None:
        os.environ[f"TWINPORT_WEB__{name}"] = str(value)


def say_where() -> None:
    """Refuse here, in one line, what would otherwise end a worker with a stack trace."""
    from service.pipeline.runtime import open_runtime

    runtime = open_runtime()
    try:
        if runtime.fresh:
            say(f"created {' and '.join(runtime.fresh)} in {runtime.config.home}")
        if not runtime.config.servers:
            say("no FHIR server is configured yet: see docs/connect-your-server.md")
        say(f"Twinport at {runtime.config.web.origin}")
    finally:
        runtime.close()
