"""`twinport server`: add a FHIR server to the configuration, and find out what it can do."""

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from service.cli.exits import CommandError, Exit
from service.cli.files import put
from service.cli.output import emit, say
from service.config import Config, load_config
from service.config.loader import FILE_NAME
from service.fhir.checkup import check_server, meanings
from service.fhir.client_keys import new_key, public_jwks, published, rotated
from service.fhir.errors import SetupError, UnsafeAddress
from service.fhir.findings import Finding, Level
from service.fhir.http import FhirClient
from service.fhir.servers import ServerConfig, from_config, from_url
from service.stores import current_revision, head_revision, open_database
from service.stores.lessons import Lessons, LessonStore

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")
SIGN = {
    Level.WORKS: "ok     ",
    Level.MISSING: "missing",
    Level.REFUSED: "refused",
    Level.ASK: "ask    ",
    Level.BROKEN: "broken ",
}


@click.group("server")
def command() -> None:
    """FHIR servers: add one to the configuration, check what works with it, list them."""


# -- add -------------------------------------------------------------------------------------------


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option(
    "--auth",
    type=click.Choice(["none", "basic", "bearer", "smart-backend"]),
    default="none",
    show_default=True,
    help="How to sign in. Secrets are asked for, never given on the command line.",
)
@click.option("--username", default="", help="For basic.")
@click.option("--client-id", default="", help="For smart-backend: the id given at registration.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="For smart-backend: a private key, PEM or JWK. Without it a new one is made.",
)
@click.option("--scope", "scopes", multiple=True, help="For smart-backend; may be repeated.")
@click.option("--token-url", default="", help="For smart-backend, where it is not discovered.")
@click.option("--read-only", is_flag=True, help="Never write results there.")
@click.option(
    "--write-refusals", is_flag=True, help="Write down, too, where a model makes no estimate."
)
@click.option("--trusted-origin", "origins", multiple=True, help="Another origin of this server.")
@click.option("--plain-http", is_flag=True, help="Accept http: beyond this machine.")
def add(
    name: str,
    url: str,
    auth: str,
    username: str,
    client_id: str,
    key_file: Path | None,
    scopes: tuple[str, ...],
    token_url: str,
    read_only: bool,
    write_refusals: bool,
    origins: tuple[str, ...],
    plain_http: bool,
) -> None:
    """Write a server into the configuration file, checked before it is kept.

    \b
    twinport server add main https://ehr.example.org/fhir --auth smart-backend --client-id ID
    twinport server check main
    """
    if not NAME.match(name):
        raise click.UsageError("NAME takes 1-40 of a-z, 0-9, '-' and '_'")
    if not all(text.isprintable() and " " not in text for text in (url, token_url, *origins)):
        raise click.UsageError("an address holds no blanks and no control characters")
    file = _file()
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    _refuse_known(before, name)
    server: dict[str, Any] = {"base_url": url}
    if origins:
        server["trusted_origins"] = list(origins)
    if plain_http:
        server["allow_plain_http"] = True
    if read_only:
        server["write_back"] = False
    if write_refusals:
        server["write_refusals"] = True
    made_key = key_file is None and auth == "smart-backend"
    key = _new_key(name) if made_key else key_file
    signing = _signing(auth, username, client_id, key, scopes, token_url)
    try:
        _keep(file, before, name, server, signing)
    except BaseException:
        if made_key and key is not None:
            key.unlink(missing_ok=True)
        raise
    say(f"added {name} to {file}")
    if auth == "smart-backend":
        say("register this public key with the server (also: twinport server jwks):")
        emit({"keys": public_jwks(str(key))})
    say(f"next: twinport server check {name}")


def _file() -> Path:
    """Where the configuration lies; reading it makes the home, where there is none yet."""
    given = os.environ.get("TWINPORT_CONFIG")
    return Path(given) if given else load_config().home / FILE_NAME


def _refuse_known(text: str, name: str) -> None:
    try:
        known = tomllib.loads(text).get("servers", {})
    except tomllib.TOMLDecodeError:
        raise CommandError("the configuration file is no valid TOML yet", Exit.SETUP) from None
    if name in known:
        raise CommandError(f"{name} is configured already; edit the file to change it", Exit.USAGE)


def _new_key(name: str) -> Path:
    """A P-384 key (ES384, as SMART Backend Services asks for) beside the other keys."""
    folder = load_config().keys_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"server-{name}.json"
    if path.exists():
        raise CommandError(f"{path} exists; name it with --key-file to use it", Exit.USAGE)
    put(path, json.dumps(new_key().as_dict(private=True)).encode())
    return path


def _signing(
    kind: str,
    username: str,
    client_id: str,
    key: Path | None,
    scopes: tuple[str, ...],
    token_url: str,
) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": kind}
    if kind == "basic":
        found["username"] = username or click.prompt("user name", err=True)
        found["password"] = click.prompt("password", hide_input=True, err=True)
    elif kind == "bearer":
        found["token"] = click.prompt("token", hide_input=True, err=True)
    elif kind == "smart-backend":
        found |= {"client_id": client_id, "key_file": str(key.absolute()) if key else ""}
        found |= {"scopes": list(scopes)} if scopes else {}
        found |= {"token_url": token_url} if token_url else {}
    return {} if kind == "none" else found


def _keep(
    file: Path, before: str, name: str, server: Mapping[str, Any], signing: Mapping[str, Any]
) -> None:
    """The file as it was, with a section at its end; kept only if the whole then is valid."""
    section = [_table(f"servers.{name}", server)]
    section += [_table(f"servers.{name}.auth", signing)] if signing else []
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    text = before + gap + "\n".join(section)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / FILE_NAME
        put(trial, text.encode())
        config = load_config({**os.environ, "TWINPORT_CONFIG": str(trial)})
    from_config(name, config.servers[name], config.limits)
    put(file, text.encode())


def _table(heading: str, values: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join([f"[{heading}]", *lines, ""])


def _value(value: Any) -> str:
    """A TOML value. Its basic strings are JSON strings, but for DEL and the escaped surrogates."""
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# -- check -----------------------------------------------------------------------------------------


@command.command("check")
@click.argument("server", metavar="NAME|URL")
@click.option("--patient", metavar="ID", help="Also pull this patient and say how complete it is.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def check(server: str, patient: str | None, as_json: bool) -> int:
    """Say in plain words what works, what is refused, what will be missing, what to ask for.

    Reads only; nothing is written to the server and nothing of a patient is shown or kept.
    """
    config = load_config()
    with FhirClient(_chosen(config, server)) as client, _lessons(config) as store:
        keep = partial(store.keep, client.server.base_url) if store else None
        findings = check_server(client, patient, keep)
    if as_json:
        emit([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            click.echo(_line(finding))
    broken = any(finding.level is Level.BROKEN for finding in findings)
    return Exit.SERVER if broken else Exit.OK


def _chosen(config: Config, text: str) -> ServerConfig:
    if "://" in text:
        try:
            return from_url(text, config.limits)
        except (UnsafeAddress, SetupError):
            raise click.UsageError("give a configured name or an http(s) URL") from None
    entry = config.servers.get(text)
    if entry is None:
        known = ", ".join(sorted(config.servers)) or "none"
        raise CommandError(f"no such server is configured; there are: {known}", Exit.USAGE)
    return from_config(text, entry, config.limits)


def _line(finding: Finding) -> str:
    return f"{SIGN[finding.level]}  {finding.about:<20} {finding.text}"


# -- list, jwks ------------------------------------------------------------------------------------


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_servers(as_json: bool) -> None:
    """The configured servers, without their secrets, and what was learned of each."""
    config = load_config()
    with _lessons(config) as store:
        learned = {one.base: one for one in store.known()} if store else {}
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "baseUrl": s.base_url,
            "auth": s.auth.kind,
            "writeBack": s.write_back,
            "learned": _learned(learned.get(s.base_url.rstrip("/"))),
        }
        for name, s in sorted(config.servers.items())
    ]
    if as_json:
        emit(rows)
        return
    for row in rows:
        mode = "reads and writes" if row["writeBack"] else "reads"
        click.echo(f"{row['name']:<16} {row['auth']:<14} {mode:<17} {row['baseUrl']}")
        for text in row["learned"]:
            click.echo(f"{'':<16} learned: {text}")


def _learned(lessons: Lessons | None) -> list[str]:
    return meanings(lessons.words) if lessons else []


@contextmanager
def _lessons(config: Config) -> Iterator[LessonStore | None]:
    """What earlier runs learned; None where no run has made a database yet."""
    database = open_database(config.database_url)
    try:
        current = current_revision(database.engine) == head_revision()
        yield LessonStore(database) if current else None
    finally:
        database.close()


@command.command("forget")
@click.argument("name", metavar="NAME|URL")
def forget(name: str) -> None:
    """Forget how a server wants to be asked; the next run finds it out anew.

    It is forgotten by itself when the server's CapabilityStatement changes, and after a week.
    """
    config = load_config()
    base = _chosen(config, name).base_url
    with _lessons(config) as store:
        known = store is not None and store.forget(base)
    say("forgotten" if known else "nothing was known of it")


@command.command("jwks")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def jwks(names: tuple[str, ...]) -> None:
    """The public keys we sign in with, as a JWK set: to register, or to serve from a URL.

    A running service serves them at /.well-known/client-jwks.json.
    """
    servers = load_config().servers
    unknown = set(names) - set(servers)
    if unknown:
        raise CommandError(f"not configured: {', '.join(sorted(unknown))}", Exit.USAGE)
    emit(published(servers[name].auth for name in names or sorted(servers)))


@command.command("rotate-key")
@click.argument("name")
def rotate_key(name: str) -> None:
    """Change the key we sign in with to one server, in two steps.

    The first makes a new key and publishes it beside the old one, which still signs. Once the
    server has fetched or registered it, the second lets the new key sign and forgets the old one.
    """
    entry = load_config().servers.get(name)
    if entry is None or entry.auth.kind != "smart-backend":
        raise CommandError("no server of this name signs in with a key", Exit.USAGE)
    content, signs = rotated(entry.auth.key_file)
    put(Path(entry.auth.key_file), content)
    if signs:
        say("the new key signs from now on; the old one is gone and may be deregistered")
        return
    say("the new key is published beside the old one, which still signs; register it, where the")
    say("server does not fetch our keys by itself:")
    emit({"keys": public_jwks(entry.auth.key_file)[1:]})
    say(f"then, once the server knows it: twinport server rotate-key {name}")
