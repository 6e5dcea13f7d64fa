"""The application factory. Everything is set up before the first request; nothing changes after."""

from collections.abc import Sequence

from flask import Blueprint, Flask, g
from werkzeug.middleware.proxy_fix import ProxyFix

from service.addresses import LateRule
from service.config import Config
from service.web.answers import OrjsonProvider
from service.web.api import api
from service.web.discovery import discovery
from service.web.docs import docs, prepare_docs
from service.web.errors import register_errors
from service.web.fhir import facade
from service.web.gate import Gate, add_headers, form_token
from service.web.health import health
from service.web.observe import register_observation
from service.web.services import Services, attach
from service.web.sign_in import sign_in

BLUEPRINTS: tuple[Blueprint, ...] = (health, discovery, api, facade, docs, sign_in)


def create_app(config: Config, services: Services, *, pages: Sequence[Blueprint] = ()) -> Flask:
    """The WSGI application over a configuration and the service composed from it.

    `pages` are the blueprints of the people's pages; each of their routes says who it is for
    (`service.web.audiences.closed`), or the application does not start.
    """
    app = Flask(__name__, static_folder="pages/static", template_folder="pages/templates")
    app.url_rule_class = LateRule
    _configure(app, config)
    attach(app.extensions, config, services)
    gate = Gate(config)
    # After-request functions run last in, first out: the headers are on what gets logged.
    register_observation(app, services.meters)
    app.after_request(add_headers)
    gate.register(app)
    register_errors(app)
    app.context_processor(_for_templates)
    for blueprint in (*BLUEPRINTS, *pages):
        app.register_blueprint(blueprint)
    gate.close(app)
    prepare_docs(app)
    return app


def _configure(app: Flask, config: Config) -> None:
    app.json = OrjsonProvider(app)
    app.debug = config.web.debug
    app.config.update(
        MAX_CONTENT_LENGTH=config.limits.body_bytes,
        SESSION_COOKIE_SECURE=config.web.secure_cookies,
        PROPAGATE_EXCEPTIONS=False,
        # Foreign pages are not served, so nobody needs OPTIONS; each method has its own audience.
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    # Unknown addresses are told apart by a slash at their end; nobody is redirected to the other.
    app.url_map.strict_slashes = True
    app.url_map.redirect_defaults = False
    hops = config.web.trusted_proxies
    if hops:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_port=0, x_prefix=0
        )


def _for_templates() -> dict[str, object]:
    caller = g.get("principal")
    return {"principal": caller, "csrf_token": form_token() if caller else ""}
