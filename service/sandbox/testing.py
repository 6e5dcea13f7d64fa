"""A real sandbox on a real port for tests: `with running_sandbox() as sandbox: …`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from flask import Flask

from service.sandbox.persona import Persona, Settings
from service.sandbox.population import DEFAULT_SEED, PatientBundle, generate
from service.sandbox.server import LoggedRequest, Sandbox, create_sandbox, sandbox_of
from service.sandbox.serving import serving
from service.sandbox.store import Clock, Resource, Store, utc_now

TEST_ANCHOR = date(2026, 6, 1)
"""The day on which the population of tests lives, so that a test reads the same on any day."""


@dataclass(frozen=True)
class RunningSandbox:
    base_url: str
    app: Flask

    @property
    def inside(self) -> Sandbox:
        return sandbox_of(self.app)

    @property
    def store(self) -> Store:
        return self.inside.store

    @property
    def requests(self) -> list[LoggedRequest]:
        return list(self.inside.requests)

    def count(self, kind: str) -> int:
        return self.store.count(kind)

    def resources(self, kind: str) -> list[Resource]:
        return self.store.all(kind)


@lru_cache(maxsize=4)
def population(anchor: date = TEST_ANCHOR, seed: int = DEFAULT_SEED) -> tuple[PatientBundle, ...]:
    """The whole population, made once per process. Treat the resources as read-only."""
    return tuple(generate(anchor, seed))


@contextmanager
def running_sandbox(
    patients: Iterable[PatientBundle] | None = None,
    *,
    persona: Persona | None = None,
    settings: Settings | None = None,
    clock: Clock = utc_now,
) -> Iterator[RunningSandbox]:
    """A sandbox with the whole population (or these patients) on a free port of this machine."""
    held = population() if patients is None else patients
    app = create_sandbox(held, persona, settings, clock=clock)
    with serving(app, clock=sandbox_of(app).store.seconds) as server:
        prefix = sandbox_of(app).prefix
        yield RunningSandbox(f"http://127.0.0.1:{server.server_port}{prefix}", app)
