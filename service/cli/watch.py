"""`twinport watch`: patients whose results are kept up to date by themselves."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from service.cli.exits import CommandError, Exit
from service.cli.output import emit, say
from service.fhir.errors import FhirError
from service.pipeline.errors import NotConfigured
from service.pipeline.runtime import Runtime, open_runtime
from service.pipeline.service import Service
from service.stores.watches import Hook, Watch
from service.watch.watching import UnknownWatchError, Watching

ROLE, SUBJECT = "admin", "cli"
UNKNOWN = "no such watch; see: twinport watch list"

_id = click.argument("watch", metavar="ID")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per watch.")


@click.group("watch")
def command() -> None:
    """Watched patients: looked at again by time, or when their server says that something changed.

    A watch has an id of its own; lists and logs never name the patient.
    """


@command.command("add")
@click.option("--server", required=True, metavar="NAME", help="A configured server.")
@click.option("--patient", required=True, metavar="ID", help="The patient's id there.")
@click.option("--model", "models", multiple=True, metavar="M", help="Model id; may be repeated.")
@click.option("--policy", metavar="P", help="De-identification policy.")
@_json
def add_command(
    server: str, patient: str, models: tuple[str, ...], policy: str | None, as_json: bool
) -> None:
    """Watch a patient. Says the id of the watch; of one who is watched already, the same.

    \b
    twinport watch add --server ehr --patient 123
    """
    with _watching() as (runtime, watching):
        runtime.models(models)
        request = {
            "server": runtime.server(server).name,
            "patient": patient,
            "models": list(models),
            "policy": runtime.policy(policy) if policy else None,
            "writeBack": None,
        }
        name, new = watching.add(request, ROLE, SUBJECT)
        hooks = _subscribed(watching, name)
    if as_json:
        emit({"watch": name, "new": new, "subscriptions": len(hooks)})
    else:
        click.echo(name)
        say("watched from now on" if new else "watched already")
        for hook in hooks:
            say(f"subscription: {_hook_line(hook)}")


def _subscribed(watching: Watching, name: str) -> list[Hook]:
    """What the server can't be told now it is told later; the watch stands either way."""
    watch = watching.store.get(name)
    assert watch is not None
    try:
        watching.subscriber.subscribe(watch)
        watching.subscriber.tend(20)
    except (FhirError, NotConfigured) as error:
        say(f"no subscription, looked at by time alone: {error}")
    return watching.hooks.of(name)


@command.command("list")
@_json
def list_command(as_json: bool) -> None:
    """Who is watched, by the ids of watches: when looked at, with what outcome, subscriptions."""
    with _watching() as (_, watching):
        rows = [(watch, watching.hooks.of(watch.id)) for watch in watching.store.all()]
    for watch, hooks in rows:
        if as_json:
            emit(_as_dict(watch, hooks))
        else:
            click.echo(_line(watch))
            for hook in hooks:
                click.echo(f"  {_hook_line(hook)}")
    if not rows and not as_json:
        say("nobody is watched")


def _line(watch: Watch) -> str:
    state = "paused" if watch.paused else f"next {watch.due:%Y-%m-%d %H:%M}Z"
    looked = f"looked at {watch.checked:%Y-%m-%d %H:%M}Z" if watch.checked else "not looked at yet"
    failed = f", {watch.failures} failed since ({watch.outcome})" if watch.failures else ""
    return f"{watch.id}  {watch.server}  {state}  {looked}{failed}"


def _hook_line(hook: Hook) -> str:
    kind = "all types" if hook.kind == "*" else hook.kind
    error = f", {hook.error}" if hook.error else ""
    ends = f", until {hook.ends:%Y-%m-%d}" if hook.ends else ""
    return f"{hook.dialect} {kind}: {hook.state}{error}{ends}"


def _as_dict(watch: Watch, hooks: list[Hook]) -> dict[str, Any]:
    return {
        "watch": watch.id,
        "server": watch.server,
        "paused": watch.paused,
        "due": watch.due.isoformat(),
        "checked": watch.checked.isoformat() if watch.checked else None,
        "outcome": watch.outcome,
        "failures": watch.failures,
        "twin": watch.twin,
        "subscriptions": [
            {
                "dialect": hook.dialect,
                "type": hook.kind,
                "state": hook.state.value,
                "error": hook.error,
                "events": hook.last,
                "missing": bool(hook.ahead),
                "ends": hook.ends.isoformat() if hook.ends else None,
            }
            for hook in hooks
        ],
    }


@command.command("remove")
@_id
def remove_command(watch: str) -> None:
    """Watch no longer: what was kept is destroyed, subscriptions are taken back."""
    with _watching() as (_, watching):
        left = watching.remove(watch, ROLE, SUBJECT)
    say("no longer watched")
    if left:
        say(f"{left} subscriptions can't be taken back now; it is tried again")


@command.command("pause")
@_id
def pause_command(watch: str) -> None:
    """Look at it no more until `resume`; what was kept is destroyed."""
    with _watching() as (_, watching):
        watching.pause(watch, True, ROLE, SUBJECT)
        watching.subscriber.unsubscribe(watch)


@command.command("resume")
@_id
def resume_command(watch: str) -> None:
    """Look at it again, at once."""
    with _watching() as (_, watching):
        watching.pause(watch, False, ROLE, SUBJECT)
        _subscribed(watching, watch)


@command.command("now")
@_id
@click.option("--whole", is_flag=True, help="Pull all of it, not only what has changed.")
def now_command(watch: str, whole: bool) -> None:
    """Look at one as soon as a worker has time."""
    with _watching() as (_, watching):
        taken = watching.now(watch, whole)
    if not taken:
        raise CommandError(f"it is paused; first: twinport watch resume {watch}", Exit.INPUT)


@command.command("run")
@click.option("--once", is_flag=True, help="Look at all that are due, then end: for a timer.")
def run_command(once: bool) -> int:
    """Work without the web: `serve` does the same beside it. Ends on SIGTERM or Ctrl-C, and hands
    back what it has in hand."""
    with _watching() as (runtime, _):
        service = Service(runtime)
        if once:
            return _once(service, runtime)
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        service.start_workers()
        say("watching; end it with Ctrl-C")
        stopped.wait()
        service.stop_workers()
    return Exit.OK


def _once(service: Service, runtime: Runtime) -> int:
    service.start_workers(sweeping=False)
    try:
        outcome = service.look_once(runtime.config.limits.run_seconds)
    finally:
        service.stop_workers()
    say(f"looked at {outcome.done}, {outcome.failed} failed")
    if outcome.failed:
        raise CommandError("not all could be looked at: twinport watch list", Exit.SERVER)
    return Exit.OK


@contextmanager
def _watching() -> Iterator[tuple[Runtime, Watching]]:
    runtime = open_runtime()
    try:
        yield runtime, Watching(runtime)
    except UnknownWatchError:
        raise CommandError(UNKNOWN, Exit.INPUT) from None
    finally:
        runtime.close()
