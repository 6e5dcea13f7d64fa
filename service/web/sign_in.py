"""Signing in and out with a browser: a one-time code opens a session kept on the server.

The form is protected before anybody is signed in by a random cookie that the form repeats: a
foreign page can neither read nor, with the `__Host-` prefix, set it.
"""

import hmac
import re
import secrets

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    redirect,
    render_template,
    request,
)
from werkzeug.wrappers import Response as AnyResponse

from service.auth import AuthError, AuthErrorCode
from service.web.audiences import closed, opened
from service.web.errors import WebError
from service.web.gate import session_cookie
from service.web.services import services, settings

sign_in = Blueprint("sign_in", __name__)

# A path of ours: one slash, then nothing a browser could read as another host.
_LOCAL = re.compile(r"/(?:[A-Za-z0-9_~.-][A-Za-z0-9_~./-]*)?")


@sign_in.get("/sign-in")
@opened
def show() -> Response:
    return _form(200, "")


@sign_in.post("/sign-in")
@opened
def submit() -> AnyResponse:
    """Spend the code. A person gets the form back with a sentence, a program a problem."""
    _check_form()
    try:
        opened_now = services().access.sign_in(
            request.form.get("code", ""), request.remote_addr or ""
        )
    except AuthError as error:
        if not _is_person():
            raise
        return _refused(error)
    response = redirect(_next_page(), 303)
    set_cookie(response, session_cookie(), opened_now.token, hours=settings().web.session_hours)
    drop_cookie(response, _form_cookie())
    return response


@sign_in.post("/sign-out")
@closed(page=True)
def sign_out() -> AnyResponse:
    services().access.sessions.close(request.cookies.get(session_cookie(), ""))
    response = redirect("/sign-in", 303)
    drop_cookie(response, session_cookie())
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def _refused(error: AuthError) -> Response:
    if error.code is AuthErrorCode.TOO_MANY:
        text = "Too many attempts from here. Wait a few minutes, then try again."
        response = _form(429, text)
        response.headers["Retry-After"] = str(error.retry_after or 60)
        return response
    return _form(401, "This code does not work. It may be mistyped, used already or too old.")


def _form(status: int, message: str) -> Response:
    token = request.cookies.get(_form_cookie()) or secrets.token_urlsafe(32)
    page = render_template(
        "sign_in.html", csrf_token=token, message=message, next_page=_next_page()
    )
    response = make_response(page, status)
    set_cookie(response, _form_cookie(), token, hours=1)
    return response


def _check_form() -> None:
    cookie = request.cookies.get(_form_cookie(), "")
    given = request.form.get("csrf_token", "")
    if not cookie or not hmac.compare_digest(cookie.encode(), given.encode("utf-8", "replace")):
        raise WebError("form-expired")


def _is_person() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _next_page() -> str:
    """Where to go afterwards: only ever a path here."""
    wanted = request.values.get("next", "/")
    return wanted if _LOCAL.fullmatch(wanted) and "//" not in wanted else "/"


# -- cookies -------------------------------------------------------------------------------------


def _form_cookie() -> str:
    return f"{session_cookie()}-form"


def set_cookie(response: AnyResponse, name: str, value: str, *, hours: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=hours * 3600,
        path="/",
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(response: AnyResponse, name: str) -> None:
    secure = current_app.config["SESSION_COOKIE_SECURE"]
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="Lax")
