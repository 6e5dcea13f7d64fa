"""What anybody may know: our public keys, and how to get in (RFC 9728)."""

from flask import Blueprint, Response, request

from service.auth import Role, Scope
from service.web.answers import JSON, json_response, require_acceptable
from service.web.audiences import opened
from service.web.services import services, settings

discovery = Blueprint("discovery", __name__, url_prefix="/.well-known")


def public_base() -> str:
    """Our address as callers see it; the configured one wins over what the caller's host says."""
    return settings().web.public_url.rstrip("/") or request.host_url.rstrip("/")


@discovery.get("/jwks.json")
@opened
def jwks() -> Response:
    """The public halves of every key that ever signed here: enough to verify any twin."""
    require_acceptable("application/jwk-set+json", JSON)
    return json_response(services().jwks(), media_type="application/jwk-set+json")


@discovery.get("/client-jwks.json")
@opened
def client_jwks() -> Response:
    """The public keys with which we sign in to FHIR servers: the address to register with them.

    While a key is changed, the set holds the old and the new one."""
    require_acceptable("application/jwk-set+json", JSON)
    return json_response(services().client_jwks(), media_type="application/jwk-set+json")


@discovery.get("/oauth-protected-resource")
@opened
def protected_resource() -> Response:
    """Which issuer's tokens are taken, and which scopes mean something here."""
    require_acceptable(JSON)
    issuer = settings().oauth.issuer
    return json_response(
        {
            "resource": public_base(),
            **({"authorization_servers": [issuer]} if issuer else {}),
            "jwks_uri": f"{public_base()}/.well-known/jwks.json",
            "scopes_supported": sorted(f"twinport/{word.value}" for word in (*Role, *Scope)),
            "bearer_methods_supported": ["header"],
            "resource_name": "Twinport",
            "resource_documentation": f"{public_base()}/docs",
        }
    )
