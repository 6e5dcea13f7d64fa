"""What works about signing in to one server: key, scopes, and what each scope decides."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from service.config.sections import ServerAuth
from service.fhir.client_keys import algorithm_of, load_key
from service.fhir.findings import Finding, Level
from service.fhir.http import FhirClient
from service.fhir.kinds import KINDS
from service.fhir.scopes import Grant, as_v1, missing

READ = ("Patient", *KINDS, "Medication")


def check_sign_in(client: FhirClient) -> Iterator[Finding]:
    auth = client.server.auth
    if auth.kind == "none":
        yield Finding(Level.WORKS, "sign-in", "none is configured")
    elif auth.kind == "smart-backend":
        yield from _smart(client, auth)
    else:
        client.sign_in()
        yield Finding(Level.WORKS, "sign-in", f"{auth.kind} is sent with every request")


def _smart(client: FhirClient, auth: ServerAuth) -> Iterator[Finding]:
    yield from _algorithm(client.smart_configuration(), auth)
    granted = client.sign_in()
    yield Finding(Level.WORKS, "sign-in", "a token was given for our signed assertion")
    grant = Grant.of(granted)
    if granted is None or grant.scopes is None:
        text = "the server does not say which it granted; searches will show"
        yield Finding(Level.WORKS, "scopes", text)
        return
    lacking = missing(auth.scopes, granted)
    if lacking:
        yield Finding(Level.REFUSED, "scopes", f"not granted: {' '.join(lacking)}")
    else:
        yield Finding(Level.WORKS, "scopes", "all that were asked for are granted")
    yield from _types(auth.scopes, grant, in_version_1=_speaks_version_1(granted))


def _algorithm(configuration: Mapping[str, Any], auth: ServerAuth) -> Iterator[Finding]:
    listed = configuration.get("token_endpoint_auth_signing_alg_values_supported")
    ours = algorithm_of(load_key(auth.key_file))
    if isinstance(listed, list) and listed and ours not in listed:
        takes = ", ".join(str(name) for name in listed if name in ("RS384", "ES384")) or "neither"
        text = f"our key signs with {ours}; of RS384 and ES384 this server takes {takes}"
        yield Finding(Level.REFUSED, "key", text)
        if takes == "RS384":
            step = (
                "Make an RSA key (`openssl genrsa 3072`), name it as `auth.key_file`, register it."
            )
            yield Finding(Level.ASK, "key", step)


def _types(asked: Iterable[str], grant: Grant, *, in_version_1: bool) -> Iterator[Finding]:
    """Per type, what was asked, what was granted, and what that means for every twin."""
    wanted = Grant.of(asked)
    lacking = [name for name in READ if grant.lacks(name, _letters(name))]
    for name in lacking:
        asked_for = not wanted.lacks(name, _letters(name))
        how = "asked for and not granted" if asked_for else "neither asked for nor granted"
        text = f"{how}: whatever is missing, a twin will never say `none found`"
        yield Finding(Level.MISSING, name, text)
    if lacking:
        scopes = [f"system/{name}.{_letters(name)}" for name in lacking]
        scopes = as_v1(scopes) if in_version_1 else scopes
        text = f"Ask to have these added, here under `auth.scopes` too: {' '.join(scopes)}"
        yield Finding(Level.ASK, "scopes", text)


def _letters(kind: str) -> str:
    """A Medication is read where an order points to it, never searched."""
    return "r" if kind == "Medication" else "rs"


def _speaks_version_1(granted: Iterable[str]) -> bool:
    return any(text.endswith((".read", ".write", ".*")) for text in granted)
