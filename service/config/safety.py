"""Values that are well-formed and still must not start: one rule per function."""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from service.config.errors import Problem
from service.config.sections import (
    LOOPBACK,
    CdsClient,
    Config,
    Server,
    ServerAuth,
    ServerDicomWeb,
    is_loopback_http,
)


def unsafe(config: Config) -> Iterator[Problem]:
    """Everything about this configuration that is refused."""
    yield from _vault_key("vault_key", config.vault_key)
    yield from _vault_key("vault_key_previous", config.vault_key_previous)
    yield from _database(config.database.url)
    yield from _listening(config)
    yield from _public_url(config)
    yield from _oauth(config)
    for name, server in config.servers.items():
        yield from _server(f"servers.{name}", server)


def _vault_key(path: str, text: str) -> Iterator[Problem]:
    step = "head -c 32 /dev/urandom | base64, or unset it and let `twinport keys init` make one"
    if not text:
        return
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        yield Problem(path, "is not base64", step)
        return
    if len(key) != 32:
        yield Problem(path, f"holds {len(key)} bytes where 32 are needed", step)
    elif len(set(key)) < 16:
        yield Problem(path, "is not random", step)


def _database(url: str) -> Iterator[Problem]:
    if url and not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        step = "use sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
        yield Problem("database.url", "names a database that is not supported", step)
    elif url in {"sqlite:///", "sqlite:///:memory:"}:
        step = "name a file, or leave it empty for one in the home"
        yield Problem("database.url", "would forget everything at exit", step)


def _listening(config: Config) -> Iterator[Problem]:
    web = config.web
    if web.host in LOOPBACK:
        return
    if web.debug:
        yield Problem(
            "web.debug", "debug mode is for this machine only", "set web.host = 127.0.0.1"
        )
    if web.tls == "none":
        step = "set web.tls = proxy (TLS ends in front of it) or listen on 127.0.0.1"
        yield Problem("web.host", "listens beyond this machine and nothing states TLS", step)


def _public_url(config: Config) -> Iterator[Problem]:
    origin = config.web.origin
    yield from _https("web.public_url", origin)
    if urlsplit(origin).path:
        yield Problem("web.public_url", "has a path", "give scheme, host and port only")
    if config.web.cookie_secure is False and not is_loopback_http(origin):
        step = "remove it; the right value follows from web.public_url"
        yield Problem("web.cookie_secure", "would send session cookies in the clear", step)


def _oauth(config: Config) -> Iterator[Problem]:
    oauth = config.oauth
    if not oauth.issuer:
        if oauth.audience or oauth.jwks_url or oauth.jwks_file:
            yield Problem("oauth.issuer", "is missing", "name the issuer, or drop section oauth")
        return
    yield from _https("oauth.issuer", oauth.issuer)
    if not oauth.audience:
        yield Problem("oauth.audience", "is missing", "name the audience tokens are issued for")
    if bool(oauth.jwks_url) == bool(oauth.jwks_file):
        step = "give exactly one of oauth.jwks_url and oauth.jwks_file"
        yield Problem("oauth.jwks_url", "the issuer's keys need one source", step)
    if oauth.jwks_url:
        yield from _https("oauth.jwks_url", oauth.jwks_url)
    if oauth.jwks_file and not Path(oauth.jwks_file).is_file():
        yield Problem("oauth.jwks_file", "is not a file", "correct the path")


def _server(path: str, server: Server) -> Iterator[Problem]:
    yield from _https(f"{path}.base_url", server.base_url, allow_plain=server.allow_plain_http)
    if urlsplit(server.base_url).query:
        yield Problem(f"{path}.base_url", "has a query", "give the FHIR base only")
    for number, origin in enumerate(server.trusted_origins):
        here = f"{path}.trusted_origins.{number}"
        yield from _https(here, origin, allow_plain=server.allow_plain_http)
        if urlsplit(origin).path.strip("/") or urlsplit(origin).query:
            yield Problem(here, "is more than an origin", "give scheme, host and port only")
    yield from _bulk(f"{path}.bulk", server)
    yield from _dicomweb(f"{path}.dicomweb", server.dicomweb)
    if server.ca_file and not Path(server.ca_file).is_file():
        yield Problem(f"{path}.ca_file", "is not a file", "correct the path")
    yield from _cds(f"{path}.cds", server.cds)
    yield from _launch(f"{path}.launch", server)
    yield from _server_auth(f"{path}.auth", server.auth)
    if server.auth.token_url:
        yield from _https(f"{path}.auth.token_url", server.auth.token_url)


def _bulk(path: str, server: Server) -> Iterator[Problem]:
    bulk = server.bulk
    if bulk.level == "group" and not bulk.group:
        yield Problem(f"{path}.group", "is needed for level group", "ask the operator for its id")
    for number, origin in enumerate(bulk.file_origins):
        here = f"{path}.file_origins.{number}"
        any_host = origin.startswith("https://*.")
        address = origin.replace("*.", "", 1) if any_host else origin
        yield from _https(here, address, allow_plain=server.allow_plain_http)
        if "*" in address or urlsplit(address).path.strip("/") or urlsplit(address).query:
            step = "give `https://HOST`, or `https://*.DOMAIN`"
            yield Problem(here, "is more than an origin", step)
        elif any_host and "." not in (urlsplit(address).hostname or ""):
            yield Problem(here, "covers a whole top-level domain", "name a domain below it")


def _here(url: str) -> bool:
    return (urlsplit(url).hostname or "") in LOOPBACK


def _dicomweb(path: str, archive: ServerDicomWeb) -> Iterator[Problem]:
    if archive.base_url:
        yield from _https(
            f"{path}.base_url", archive.base_url, allow_plain=archive.allow_plain_http
        )
        if urlsplit(archive.base_url).query:
            yield Problem(f"{path}.base_url", "has a query", "give the DICOMweb root only")
        secret = archive.auth.kind != "none"
        if secret and urlsplit(archive.base_url).scheme == "http" and not _here(archive.base_url):
            step = "use https"
            yield Problem(f"{path}.auth", "would send a credential in the clear", step)
    elif archive.auth.kind != "none":
        step = f"set {path}.base_url"
        yield Problem(f"{path}.auth", "is for an archive that is not named", step)
    if archive.auth.kind == "smart-backend" and not archive.auth.token_url:
        step = "an archive does not say where its tokens come from"
        yield Problem(f"{path}.auth.token_url", "is missing", step)
    if archive.auth.token_url:
        yield from _https(f"{path}.auth.token_url", archive.auth.token_url)
    if archive.ca_file and not Path(archive.ca_file).is_file():
        yield Problem(f"{path}.ca_file", "is not a file", "correct the path")
    yield from _server_auth(f"{path}.auth", archive.auth)


def _cds(path: str, client: CdsClient) -> Iterator[Problem]:
    if not client.issuer:
        if client.jwks_url or client.jwks_file:
            yield Problem(f"{path}.issuer", "is missing", "name the issuer, or drop the section")
        return
    if bool(client.jwks_url) == bool(client.jwks_file):
        step = f"give exactly one of {path}.jwks_url and {path}.jwks_file"
        yield Problem(f"{path}.jwks_url", "the client's keys need one source", step)
    if client.jwks_url:
        yield from _https(f"{path}.jwks_url", client.jwks_url)
    if client.jwks_file and not Path(client.jwks_file).is_file():
        yield Problem(f"{path}.jwks_file", "is not a file", "correct the path")


def _launch(path: str, server: Server) -> Iterator[Problem]:
    app = server.launch
    if not app.client_id:
        if app.client_secret or app.key_file:
            yield Problem(f"{path}.client_id", "is missing", "name the client, or drop the section")
        return
    if app.client_secret and app.key_file:
        step = f"keep one of {path}.client_secret and {path}.key_file"
        yield Problem(f"{path}.key_file", "stands beside a secret", step)
    if app.key_file and not Path(app.key_file).is_file():
        yield Problem(f"{path}.key_file", "is not a file", "correct the path")
    if not {"openid", "fhirUser", "patient/Patient.r"} <= set(app.scopes):
        step = "keep openid, fhirUser and patient/Patient.r among them"
        yield Problem(f"{path}.scopes", "would not say who comes and for whom", step)
    if urlsplit(server.base_url).scheme == "http" and not _here(server.base_url):
        yield Problem(f"{path}.client_id", "would send tokens in the clear", "use https")


_NEEDED: dict[str, tuple[str, ...]] = {
    "none": (),
    "basic": ("username", "password"),
    "bearer": ("token",),
    "smart-backend": ("client_id", "key_file"),
}


def _server_auth(path: str, auth: ServerAuth) -> Iterator[Problem]:
    for name in _NEEDED[auth.kind]:
        if not getattr(auth, name):
            yield Problem(f"{path}.{name}", f"is needed for {auth.kind}", "set it")


def _https(path: str, url: str, *, allow_plain: bool = False) -> Iterator[Problem]:
    parts = _parts(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        yield Problem(path, "is not an http(s) address", "write it as https://HOST/…")
        return
    if parts.username or parts.password:
        yield Problem(path, "carries a user name or password", "take it out of the address")
    if parts.fragment:
        yield Problem(path, "carries a fragment", "take it out of the address")
    if parts.scheme == "http" and not allow_plain and parts.hostname not in LOOPBACK:
        yield Problem(path, "is plain http beyond this machine", "use https")


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where the port is not a number
    except ValueError:
        return None
    return parts
