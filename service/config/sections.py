"""Every setting, declared once: type, default, check, sentence for the documentation.

A nested section is its own default: ``field(default_factory=Section)``. The dataclass is what
the program uses; ``schema.py`` derives the marshmallow schema from it and ``table.py`` the
documentation, so a setting cannot exist in one and not in the others.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import fields, validate

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME = validate.Regexp(
    r"^[a-z0-9][a-z0-9_-]{0,39}\Z",
    error="Use 1-40 of a-z, 0-9, '-' and '_', starting with a letter or digit",
)


def setting(
    default: Any,
    check: fields.Field[Any],
    text: str,
    *,
    secret: bool = False,
    env_only: bool = False,
) -> Any:
    """One setting. ``default`` ``MISSING`` means required; a secret never shows in a repr."""
    metadata = {"check": check, "text": text, "secret": secret, "env_only": env_only}
    if default is MISSING:
        return field(metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def table_of(kind: type, key: str) -> Any:
    """A table of named sections, such as ``servers.<name>``."""
    return field(default_factory=dict, metadata={"section": kind, "key": key})


def words_of(key: str, text: str) -> Any:
    """A table of named words, such as ``models.settings.<name>``."""
    metadata = {"words": key, "text": text, "secret": False, "env_only": False}
    return field(default_factory=dict, metadata=metadata)


def _text(*checks: Any) -> fields.Field[Any]:
    return fields.String(validate=list(checks) or None)


def _choice(*values: str) -> fields.Field[Any]:
    return fields.String(validate=validate.OneOf(values))


def _whole(low: int, high: int) -> fields.Field[Any]:
    return fields.Integer(strict=True, validate=validate.Range(low, high))


def _names() -> fields.Field[Any]:
    return fields.List(_text(_NAME))


@dataclass(frozen=True)
class Project:
    """What separates one use from another: pseudonyms are never shared between projects."""

    name: str = setting(
        "default", _text(_NAME), "Project name; pseudonyms are separate per project."
    )


@dataclass(frozen=True)
class Policy:
    """De-identification."""

    default: str = setting("safe-harbor", _text(_NAME), "Policy used when a run names none.")


@dataclass(frozen=True)
class Database:
    """Where twins, ledger, vault rows, runs and sessions are kept."""

    url: str = setting(
        "",
        _text(),
        "`sqlite:///PATH` or `postgresql+psycopg://…`. Empty: `twinport.db` in the home.",
        secret=True,
    )
    pool_size: int = setting(5, _whole(1, 100), "Connections kept open (PostgreSQL).")
    busy_seconds: int = setting(10, _whole(1, 120), "How long to wait for a lock before giving up.")


@dataclass(frozen=True)
class Web:
    """The HTTP service."""

    host: str = setting("127.0.0.1", _text(validate.Length(1)), "Address to listen on.")
    port: int = setting(8080, _whole(0, 65535), "Port to listen on; 0 takes a free one.")
    tls: str = setting(
        "none",
        _choice("none", "proxy", "isolated"),
        "How traffic is protected: `none` (this machine only), `proxy` (TLS ends in front), "
        "`isolated` (closed network, stated by the operator).",
    )
    public_url: str = setting(
        "", _text(), "Address as browsers see it. Empty: `http://127.0.0.1:<port>`."
    )
    cookie_secure: bool | None = setting(
        None,
        fields.Boolean(allow_none=True),
        "Send cookies over TLS only. Unset: yes, unless `public_url` is HTTP on this machine.",
    )
    session_hours: int = setting(8, _whole(1, 24), "A browser session ends after this many hours.")
    idle_minutes: int = setting(
        30, _whole(1, 480), "A browser session ends after this long unused."
    )
    sign_in_attempts: int = setting(
        10, _whole(1, 100), "Sign-in attempts per address and window before a pause."
    )
    sign_in_window_minutes: int = setting(15, _whole(1, 1440), "Length of that window.")
    sign_in_code_minutes: int = setting(15, _whole(1, 1440), "Life of a one-time sign-in code.")
    requests_per_minute: int = setting(600, _whole(1, 100_000), "API calls per caller and minute.")
    trusted_proxies: int = setting(
        0, _whole(0, 10), "Proxies in front whose `X-Forwarded-*` headers are believed."
    )
    workers: int = setting(1, _whole(1, 64), "gunicorn worker processes.")
    threads: int = setting(16, _whole(4, 128), "Threads per worker process.")
    debug: bool = setting(False, fields.Boolean(), "Flask debug mode; this machine only.")

    @property
    def origin(self) -> str:
        """The address browsers use, without a trailing slash."""
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def secure_cookies(self) -> bool:
        if self.cookie_secure is not None:
            return self.cookie_secure
        return not is_loopback_http(self.origin)


@dataclass(frozen=True)
class OAuth:
    """Bearer tokens of an identity provider. Off while ``issuer`` is empty."""

    issuer: str = setting("", _text(), "Issuer (`iss`) whose tokens are accepted. Empty: none.")
    audience: str = setting("", _text(), "Audience (`aud`) a token must name.")
    jwks_url: str = setting("", _text(), "Where the issuer publishes its keys.")
    jwks_file: str = setting("", _text(), "A file holding the issuer's keys, instead of the URL.")
    skew_seconds: int = setting(60, _whole(0, 300), "Clock difference tolerated.")
    patient_claim: str = setting(
        "twinport_twin", _text(validate.Length(1)), "Claim holding the twin a patient is bound to."
    )
    cache_seconds: int = setting(3600, _whole(60, 86_400), "How long fetched keys are kept.")


@dataclass(frozen=True)
class ServerAuth:
    """How Twinport signs in to one FHIR server."""

    kind: str = setting(
        "none", _choice("none", "basic", "bearer", "smart-backend"), "Way of signing in."
    )
    username: str = setting("", _text(), "User name (`basic`).")
    password: str = setting("", _text(), "Password (`basic`).", secret=True)
    token: str = setting("", _text(), "Token (`bearer`).", secret=True)
    client_id: str = setting("", _text(), "Client id (`smart-backend`).")
    token_url: str = setting("", _text(), "Token endpoint (`smart-backend`). Empty: discovered.")
    key_file: str = setting("", _text(), "Private JWK or PEM file (`smart-backend`).")
    scopes: tuple[str, ...] = setting(
        (
            "system/*.rs",
            "system/RiskAssessment.crus",
            "system/Device.crus",
            "system/Provenance.crus",
        ),
        fields.List(_text(validate.Length(1))),
        "Scopes to ask for (`smart-backend`).",
    )


@dataclass(frozen=True)
class CdsClient:
    """The CDS Hooks client of an EHR. Off while ``issuer`` is empty."""

    issuer: str = setting("", _text(), "`iss` of the EHR's CDS Hooks tokens. Empty: no CDS Hooks.")
    jwks_url: str = setting("", _text(), "Where it publishes its keys; the only `jku` accepted.")
    jwks_file: str = setting("", _text(), "A file holding its keys, instead of the URL.")
    audience: str = setting(
        "", _text(), "Another `aud` accepted besides the address called, where an EHR sends one."
    )
    tenants: tuple[str, ...] = setting(
        (), fields.List(_text(validate.Length(1))), "`tenant`s accepted. Empty: not looked at."
    )


@dataclass(frozen=True)
class ServerLaunch:
    """How clinicians come from this EHR (SMART App Launch). Off while ``client_id`` is empty."""

    client_id: str = setting("", _text(), "Client id registered there. Empty: no launches.")
    client_secret: str = setting("", _text(), "Client secret (confidential client).", secret=True)
    key_file: str = setting(
        "", _text(), "Private JWK or PEM file instead of a secret (`private_key_jwt`)."
    )
    scopes: tuple[str, ...] = setting(
        ("openid", "fhirUser", "patient/Patient.r"),
        fields.List(_text(validate.Length(1))),
        "Scopes asked for beside `launch` or `launch/patient`.",
    )
    stand_alone: bool = setting(
        True, fields.Boolean(), "Whether one may start at `/launch` here, too."
    )


@dataclass(frozen=True)
class ServerBulk:
    """How a whole population is exported from one server (Bulk Data `$export`)."""

    level: str = setting(
        "patient",
        _choice("group", "patient", "system"),
        "What `twinport bulk` exports: one group, all patients, or the whole server.",
    )
    group: str = setting("", _text(), "Id of the Group (level `group`); its operator gives it out.")
    types: tuple[str, ...] = setting(
        (),
        fields.List(_text(validate.Regexp(r"^[A-Z][A-Za-z]{2,49}\Z"))),
        "Types to export. Empty: all that Twinport reads and the server exports.",
    )
    dialect: str = setting(
        "auto",
        _choice("auto", "get", "post"),
        "How the export is asked for: GET with commas, POST of Parameters, or what the server's "
        "statement suggests, and then the other.",
    )
    file_origins: tuple[str, ...] = setting(
        (),
        fields.List(_text(validate.Length(1))),
        "Where the files may lie besides the server itself: `https://HOST`, or `https://*.DOMAIN` "
        "for public addresses. They never get the server's credentials.",
    )
    partial_manifests: bool = setting(
        False, fields.Boolean(), "Take files before the export is done, where the server can."
    )
    empty_means_none: bool = setting(
        False,
        fields.Boolean(),
        "A type that was asked for and has no file is taken as empty, not as unknown. Only where "
        "the server's operator says so.",
    )
    wait_hours: int = setting(24, _whole(1, 720), "Longest wait for the export to be ready.")
    longest_pause_seconds: int = setting(
        300, _whole(0, 86_400), "Longest pause between two looks, whatever the server asks for."
    )
    file_seconds: int = setting(3600, _whole(1, 86_400), "Longest time for one file.")
    parallel: int = setting(4, _whole(1, 16), "Files fetched at once.")


@dataclass(frozen=True)
class ServerDicomWeb:
    """The imaging archive of a server: asked how images were acquired, never for images."""

    enabled: bool = setting(
        False, fields.Boolean(), "Ask the archive how series were acquired (metadata, no pixels)."
    )
    base_url: str = setting(
        "",
        _text(),
        "DICOMweb root. Empty: the Endpoints that imaging studies name, as far as they lie at the "
        "server's own origins.",
    )
    auth: ServerAuth = field(default_factory=ServerAuth)
    identifier_system: str = setting(
        "",
        _text(),
        "System of the Patient's identifier that is the archive's Patient ID. Empty: any of them.",
    )
    studies: int = setting(50, _whole(1, 1000), "Studies asked for of one patient, newest first.")
    series: int = setting(30, _whole(1, 1000), "Series asked for of one study.")
    instances: int = setting(3, _whole(1, 50), "Images whose metadata are read of one series.")
    timeout_seconds: int = setting(20, _whole(1, 600), "Longest wait for one answer.")
    total_seconds: int = setting(120, _whole(1, 3600), "Longest time for one patient's images.")
    response_bytes: int = setting(16_777_216, _whole(1024, 2**31), "Largest single answer read.")
    total_bytes: int = setting(
        33_554_432, _whole(1024, 2**33), "Most that is read about one patient's images."
    )
    allow_plain_http: bool = setting(
        False, fields.Boolean(), "Accept `http:` beyond this machine (closed network)."
    )
    ca_file: str = setting("", _text(), "Extra certificate authority for the archive.")


@dataclass(frozen=True)
class Server:
    """One FHIR server that callers may name. Callers over HTTP can never give a URL."""

    base_url: str = setting(MISSING, _text(validate.Length(1)), "FHIR base URL.")
    auth: ServerAuth = field(default_factory=ServerAuth)
    trusted_origins: tuple[str, ...] = setting(
        (),
        fields.List(_text(validate.Length(1))),
        "Other origins that belong to this server (`https://HOST`): links there are followed, "
        "and they get the same credentials.",
    )
    allow_plain_http: bool = setting(
        False, fields.Boolean(), "Accept an `http:` base beyond this machine (closed network)."
    )
    probability_scale: str = setting(
        "percent", _choice("percent", "fraction"), "Scale of probabilities this server expects."
    )
    persona: str = setting("standard", _text(_NAME), "How this vendor's server behaves.")
    write_back: bool = setting(True, fields.Boolean(), "Whether results may be written here.")
    write_as: str = setting(
        "risk-assessment",
        _choice("risk-assessment", "observation", "document", "facade"),
        "Highest form results are written in here; where the server does not take it, the next "
        "one is tried. `facade`: nothing is written, results are read from Twinport.",
    )
    notice_as: str = setting(
        "flag",
        _choice("flag", "document", "result", "communication", "off"),
        "Highest form of a notice beside a result that no longer holds and may not be changed "
        "here; where the server does not take it, the next one is tried. `off`: none is written.",
    )
    model_cards: bool = setting(
        False, fields.Boolean(), "Write each model's card beside its results (DocumentReference)."
    )
    write_refusals: bool = setting(
        False,
        fields.Boolean(),
        "Write down, too, where a model made no estimate, and why: a resource without a number.",
    )
    subscriptions: str = setting(
        "off",
        _choice("off", "auto", "rest-hook", "backport"),
        "How changes of watched patients are announced here: R4 rest-hook, the R5 backport, what "
        "the server's statement lists, or not at all (they are then looked at by time alone).",
    )
    subscription_topic: str = setting(
        "", _text(), "Canonical of the topic (`backport`). Empty: the first the server lists."
    )
    subscription_types: tuple[str, ...] = setting(
        ("Observation", "Condition", "MedicationRequest"),
        fields.List(_text(validate.Regexp(r"^[A-Z][A-Za-z]{2,49}\Z"))),
        "Types whose changes are announced; changes of the others are found by time.",
    )
    cds: CdsClient = field(default_factory=CdsClient)
    launch: ServerLaunch = field(default_factory=ServerLaunch)
    dicomweb: ServerDicomWeb = field(default_factory=ServerDicomWeb)
    bulk: ServerBulk = field(default_factory=ServerBulk)
    ca_file: str = setting("", _text(), "Extra certificate authority for this server.")
    timeout_seconds: int = setting(30, _whole(1, 600), "Longest wait for one answer.")
    page_size: int = setting(200, _whole(1, 1000), "`_count` asked for when searching.")
    max_pages: int = setting(500, _whole(1, 100_000), "Pages read of one search before stopping.")
    everything: bool = setting(
        False,
        fields.Boolean(),
        "Pull by `Patient/$everything` where the server advertises it, in place of searches.",
    )
    post_search: str = setting(
        "fallback",
        _choice("fallback", "always", "never"),
        "Search by `POST _search`: where GET is refused for its form or length, always, or never.",
    )


@dataclass(frozen=True)
class Jobs:
    """The durable queue of runs."""

    workers: int = setting(2, _whole(0, 64), "Runs worked on at once in one process; 0: none here.")
    lease_seconds: int = setting(
        60, _whole(5, 3600), "A run whose worker is silent this long is taken over."
    )
    attempts: int = setting(3, _whole(1, 20), "Tries before a run is marked failed.")
    poll_seconds: float = setting(
        0.5, fields.Float(validate=validate.Range(0.01, 60)), "Pause between looks at the queue."
    )
    waiting: int = setting(
        64,
        _whole(1, 100_000),
        "Runs that may wait in the queue; one more is turned away with 429 and `Retry-After`.",
    )
    waiting_per_caller: int = setting(32, _whole(1, 100_000), "Of these, how many of one caller.")
    stop_seconds: int = setting(20, _whole(0, 600), "How long a stop waits for runs in hand.")


@dataclass(frozen=True)
class Bulk:
    """Exports of whole populations: the sealed spool they pass through."""

    folder: str = setting(
        "", _text(), "Where the sealed spool lies while it lasts. Empty: `spool` in the home."
    )
    keep_days: int = setting(
        7, _whole(1, 90), "An unfinished export nobody went on with is destroyed after so long."
    )
    files: int = setting(200_000, _whole(1, 10**7), "Most files of one export.")
    total_bytes: int = setting(
        1_099_511_627_776, _whole(1024, 2**50), "Most bytes of one export, unpacked."
    )


@dataclass(frozen=True)
class Watch:
    """Patients whose results are kept up to date by themselves (`twinport watch`)."""

    minutes: int = setting(15, _whole(1, 43_200), "How often a watched patient is looked at.")
    jitter_percent: int = setting(
        10, _whole(0, 50), "By how much of that each look is moved, at random."
    )
    backoff_hours: int = setting(
        12, _whole(1, 720), "Longest pause after failures; each doubles the one before."
    )
    keep_record: bool = setting(
        True,
        fields.Boolean(),
        "Keep what was pulled, sealed, so that the next look asks only for what has changed. Off: "
        "all of it is pulled each time.",
    )
    full_hours: int = setting(
        24, _whole(1, 720), "All of it is pulled again after so long, whatever was said to change."
    )
    created_full_hours: int = setting(
        4,
        _whole(0, 720),
        "The same where a server has no `_lastUpdated` and is asked for new records by their date: "
        "until then no correction is seen. 0: all of it is pulled each time.",
    )
    overlap_seconds: int = setting(
        300, _whole(0, 86_400), "Changes are asked for from so long before the last look."
    )
    settle_seconds: int = setting(
        5, _whole(0, 3600), "After a notification, wait this long for others of the same patient."
    )
    gap_seconds: int = setting(
        30, _whole(0, 3600), "How long a missing event may still arrive before all is pulled."
    )
    subscription_days: int = setting(
        30, _whole(1, 366), "Life of a subscription; it is renewed in its last third."
    )
    heartbeat_minutes: int = setting(
        60, _whole(1, 1440), "Heartbeat asked of servers that have one."
    )
    tell_url: str = setting(
        "", _text(), "Where to POST that results were withdrawn or superseded. Empty: nowhere."
    )
    tell_secret: str = setting(
        "", _text(), "Key of the HMAC-SHA256 over such a notice.", secret=True
    )


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one caller or one record from exhausting the service."""

    body_bytes: int = setting(10_485_760, _whole(1024, 2**31), "Largest request body.")
    file_bytes: int = setting(1_073_741_824, _whole(1024, 2**40), "Largest file read, unpacked.")
    response_bytes: int = setting(
        104_857_600, _whole(1024, 2**34), "Largest single answer read from a FHIR server."
    )
    resources: int = setting(250_000, _whole(1, 10**8), "Most resources of one patient.")
    run_seconds: int = setting(900, _whole(1, 86_400), "Longest run.")


@dataclass(frozen=True)
class Logging:
    """Structured logs; no patient value is ever in them."""

    level: str = setting("info", _choice("debug", "info", "warning", "error"), "Least severity.")
    format: str = setting("json", _choice("json", "text"), "One JSON object per line, or text.")


@dataclass(frozen=True)
class Models:
    """Which registered models run."""

    default: tuple[str, ...] = setting(
        (), _names(), "Models run when none is named. Empty: all that a twin can feed here."
    )
    disabled: tuple[str, ...] = setting((), _names(), "Models that never run here.")
    silent: tuple[str, ...] = setting(
        (),
        _names(),
        "Models that run in silence: predicted and recorded in the twin, and neither shown nor "
        "written back.",
    )
    settings: Mapping[str, str] = words_of(
        "name",
        "What models ask of this installation and never guess: `region-score2` (low, moderate, "
        "high, very-high), `region-kfre` (north-american, non-north-american). In the "
        "environment with `_` for `-`.",
    )


@dataclass(frozen=True)
class Reviews:
    """How clinicians review results."""

    pause: str = setting(
        "high",
        _choice("never", "high", "always"),
        "Of which models a clinician gives an estimate of their own before the number is shown: "
        "those whose card says that much hangs on them (`high`), all, or none.",
    )
    shown_at_once: tuple[str, ...] = setting(
        (), _names(), "Models whose numbers are shown at once, whatever hangs on them."
    )
    paused: tuple[str, ...] = setting(
        (), _names(), "Models that wait for an estimate, whatever hangs on them."
    )
    smallest_cell: int = setting(
        11, _whole(2, 1000), "Fewest reviews of a model that statistics are told of."
    )
    fewest_people: int = setting(
        3, _whole(2, 100), "Fewest people these reviews must come from: no statistics of a person."
    )


@dataclass(frozen=True)
class Config:
    """The whole configuration, checked."""

    home: Path = field(metadata={"home": True})
    vault_key: str = setting(
        "",
        _text(),
        "Vault key, 32 random bytes in base64, instead of the key file in the home.",
        secret=True,
        env_only=True,
    )
    vault_key_previous: str = setting(
        "",
        _text(),
        "The vault key before the last rotation, until everything is wrapped anew.",
        secret=True,
        env_only=True,
    )
    project: Project = field(default_factory=Project)
    policy: Policy = field(default_factory=Policy)
    database: Database = field(default_factory=Database)
    web: Web = field(default_factory=Web)
    oauth: OAuth = field(default_factory=OAuth)
    servers: Mapping[str, Server] = table_of(Server, "name")
    jobs: Jobs = field(default_factory=Jobs)
    bulk: Bulk = field(default_factory=Bulk)
    watch: Watch = field(default_factory=Watch)
    limits: Limits = field(default_factory=Limits)
    logging: Logging = field(default_factory=Logging)
    models: Models = field(default_factory=Models)
    reviews: Reviews = field(default_factory=Reviews)

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.home / 'twinport.db'}"

    @property
    def keys_dir(self) -> Path:
        return self.home / "keys"

    @property
    def spool_dir(self) -> Path:
        return Path(self.bulk.folder) if self.bulk.folder else self.home / "spool"


def is_loopback_http(url: str) -> bool:
    """Plain HTTP that never leaves this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and (parts.hostname or "") in LOOPBACK
