"""One FHIR server as the operator describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from service.config.sections import Limits as ConfiguredLimits
from service.config.sections import Server as ConfiguredServer
from service.config.sections import ServerAuth, ServerBulk, ServerDicomWeb
from service.fhir.errors import SetupError, UnsafeAddress
from service.fhir.origin import Origin, is_loopback, origin_of

AuthKind = Literal["none", "basic", "bearer", "smart-backend"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one job against one server."""

    connect_seconds: float = 10
    read_seconds: float = 30
    budget_seconds: float = 900
    tries: int = 5
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 120
    body_bytes: int = 104_857_600
    pages: int = 500
    resources: int = 250_000
    concurrency: int = 4
    transaction_entries: int = 100
    # Medplum refuses a transaction with more conditional entries than this; none needs more.
    conditional_entries: int = 8


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Checked when made: a server that cannot be used safely cannot exist."""

    name: str
    base_url: str
    auth: ServerAuth = field(default_factory=ServerAuth)
    trusted_origins: tuple[str, ...] = ()
    """Origins the operator vouches for as part of this server; they get what the base gets."""
    allow_plain_http: bool = False
    probability_scale: str = "percent"
    write_back: bool = True
    write_as: str = "risk-assessment"
    """The highest rung of the ladder (service/fhir/ladder.py)."""
    notice_as: str = "flag"
    """The highest form of a notice (mappings/to_fhir/notice.py); `off`: none."""
    model_cards: bool = False
    write_refusals: bool = False
    ca_file: str = ""
    page_size: int = 200
    everything: bool = False
    post_search: str = "fallback"
    bulk: ServerBulk = field(default_factory=ServerBulk)
    dicomweb: ServerDicomWeb = field(default_factory=ServerDicomWeb)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _check_base(self)
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))

    @property
    def origins(self) -> frozenset[Origin]:
        return frozenset(origin_of(url) for url in (self.base_url, *self.trusted_origins))

    @property
    def bases(self) -> tuple[str, ...]:
        """The base as each of its origins spells it, to recognise absolute references."""
        path = urlsplit(self.base_url).path
        return (self.base_url, *(f"{url.rstrip('/')}{path}" for url in self.trusted_origins))


def from_config(
    name: str, server: ConfiguredServer, limits: ConfiguredLimits | None = None
) -> ServerConfig:
    """The server of a configuration file."""
    bounds = limits or ConfiguredLimits()
    return ServerConfig(
        name=name,
        base_url=server.base_url,
        auth=server.auth,
        trusted_origins=server.trusted_origins,
        allow_plain_http=server.allow_plain_http,
        probability_scale=server.probability_scale,
        write_back=server.write_back,
        write_as=server.write_as,
        notice_as=server.notice_as,
        model_cards=server.model_cards,
        write_refusals=server.write_refusals,
        ca_file=server.ca_file,
        page_size=server.page_size,
        everything=server.everything,
        post_search=server.post_search,
        bulk=server.bulk,
        dicomweb=server.dicomweb,
        limits=Limits(
            read_seconds=server.timeout_seconds,
            budget_seconds=bounds.run_seconds,
            body_bytes=bounds.response_bytes,
            pages=server.max_pages,
            resources=bounds.resources,
        ),
    )


def from_url(url: str, limits: ConfiguredLimits | None = None) -> ServerConfig:
    """A server the operator names by URL at the command line: no sign-in, plain http accepted.

    Its name is the URL: by it a write that was cut short is finished later."""
    entry = ConfiguredServer(base_url=url, allow_plain_http=True)
    return from_config(url.rstrip("/"), entry, limits)


def _check_base(server: ServerConfig) -> None:
    what = f"servers.{server.name}"
    try:
        for url in (server.base_url, *server.trusted_origins):
            origin_of(url)
        local = is_loopback(server.base_url)
    except UnsafeAddress as error:
        raise SetupError(what, next_step="Give an http(s) URL without user or password.") from error
    parts = urlsplit(server.base_url)
    if parts.query or parts.fragment:
        raise SetupError(what, next_step="Give `base_url` without `?` and `#`.")
    if parts.scheme == "http" and not local:
        _check_plain_http(server, what)
    _check_credentials(server.auth, what)


def _check_plain_http(server: ServerConfig, what: str) -> None:
    if not server.allow_plain_http:
        raise SetupError(
            what, next_step="Use https, or set `allow_plain_http` in a closed network."
        )
    if server.auth.kind != "none":
        raise SetupError(what, next_step="Use https: credentials are never sent in the clear.")


_NEEDED: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "basic": ("username", "password"),
    "bearer": ("token",),
    "smart-backend": ("client_id", "key_file"),
}


def _check_credentials(auth: ServerAuth, what: str) -> None:
    needed = _NEEDED.get(auth.kind)
    if needed is None:
        raise SetupError(what, next_step=f"Set `auth.kind` to one of {', '.join(_NEEDED)}.")
    missing = [name for name in needed if not getattr(auth, name)]
    if missing:
        raise SetupError(what, next_step=f"Set {', '.join(f'`auth.{m}`' for m in missing)}.")
