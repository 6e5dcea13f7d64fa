"""Pages that do their work in the browser alone: a health link is opened, a file is checked.

Nobody signs in, and nothing comes back to us: the link stands after `#`, the file is not sent.
They are the only pages with scripts, all of them our own files.
"""

from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, render_template

from service.config.sections import LOOPBACK
from service.sharing.desk import VIEWER
from service.web.audiences import opened
from service.web.discovery import public_base

viewer = Blueprint("viewer", __name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {ask}; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_ANYWHERE = "'self' https:"  # a health link may lead to any server
_NEIGHBOURS = "http://127.0.0.1:* http://localhost:*"  # on a machine of one's own, also to these


@viewer.get(VIEWER)
@opened
def view() -> Response:
    """Opens health links, ours and others'."""
    return _static("view.html", viewing_policy(public_base()))


@viewer.get("/verify")
@opened
def verify() -> Response:
    """Checks a file against our keys, or those of another issuer from a file."""
    return _static("verify.html", _POLICY.format(ask="'self'"))


def viewing_policy(base: str) -> str:
    own = urlsplit(base).hostname in LOOPBACK
    return _POLICY.format(ask=f"{_ANYWHERE} {_NEIGHBOURS}" if own else _ANYWHERE)


def _static(template: str, policy: str) -> Response:
    """The same for everybody, under a policy in which only our own files run."""
    response = make_response(render_template(template))
    response.headers["Content-Security-Policy"] = policy
    return response
