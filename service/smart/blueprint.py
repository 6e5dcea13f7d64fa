"""`/launch` and `/launch/callback`: open routes, as nobody who comes here has signed in yet."""

import time

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from service.auth import Kind, Principal, Role
from service.auth.principals import BOUND_CLINICIAN, named_subject
from service.smart.desk import Arrived, Desk
from service.smart.errors import LaunchError
from service.stores.audit import AuditStore
from service.stores.credentials import Identity
from service.web.audiences import opened
from service.web.discovery import public_base
from service.web.errors import WebError
from service.web.gate import session_cookie
from service.web.ports import Failure, RunRequest, RunState
from service.web.rates import Rates
from service.web.services import services, settings
from service.web.sign_in import drop_cookie, set_cookie

_CALLBACK = "/launch/callback"


def launch_blueprint(desk: Desk, audit: AuditStore, requests_per_minute: int) -> Blueprint:
    smart = Blueprint("smart", __name__)
    rates = Rates(requests_per_minute)

    def admit() -> None:
        wait = rates.admit(request.remote_addr or "", time.monotonic())
        if wait is not None:
            raise WebError("throttled", headers={"Retry-After": str(wait)})

    @smart.get("/launch")
    @opened
    def launch() -> Response | str:
        """From an EHR with `iss` and `launch`; from our own page with `server`; else that page."""
        admit()
        iss, server = request.args.get("iss"), request.args.get("server")
        if iss is None and server is None:
            return render_template("launch.html", names=desk.names)
        try:
            name = desk.named(iss) if iss is not None else str(server)
            begun = desk.begin(name, request.args.get("launch"), _redirect_uri())
        except LaunchError as error:
            raise _told(audit, error) from None
        response = redirect(begun.address, 303)
        set_cookie(response, _cookie(), begun.browser, hours=1)
        return response

    @smart.get(_CALLBACK)
    @opened
    def callback() -> Response:
        """The EHR sent the browser back: token, identity, patient; then the page."""
        admit()
        try:
            found = desk.finish(
                request.args.to_dict(), request.cookies.get(_cookie(), ""), _redirect_uri()
            )
            twin = _twin_of(found)
        except LaunchError as error:
            raise _told(audit, error) from None
        subject = named_subject(Role.EHR, found.person)
        audit.record(role=Role.EHR.value, subject=subject, action="smart-launch",
                     outcome=f"opened:{found.server}"[:64], object=twin)  # fmt: skip
        session = services().access.sessions.open(Identity(subject, Role.EHR.value, twin))
        response = redirect(url_for("pages.clinic_twin", pseudonym=twin), 303)
        hours = settings().web.session_hours
        set_cookie(response, session_cookie(), session.token, hours=hours)
        drop_cookie(response, _cookie())
        return response

    return smart


def _twin_of(found: Arrived) -> str:
    """The patient's twin, made or brought up to date now."""
    caller = Principal(
        Role.EHR, BOUND_CLINICIAN, named_subject(Role.EHR, found.person), Kind.SESSION
    )
    run = services().runs.start(
        RunRequest(found.server, found.patient, encounter=found.encounter), caller
    )
    if run.state is not RunState.DONE or run.twin is None:
        code = run.error if run.error in set(Failure) else Failure.FAILED
        raise WebError(Failure.STILL_RUNNING if not run.ended else str(code), run_id=run.id)
    return run.twin


def _told(audit: AuditStore, error: LaunchError) -> WebError:
    """On record, and in plain words. Never what the EHR or the address said."""
    audit.record(role="system", subject="twinport", action="smart-launch",
                 outcome=f"refused:{error.code}", object=None)  # fmt: skip
    return WebError(error.code)


def _redirect_uri() -> str:
    return f"{public_base()}{_CALLBACK}"


def _cookie() -> str:
    """Names the browser that began a launch; strict would not come back from another site."""
    secure = current_app.config["SESSION_COOKIE_SECURE"]
    return "__Host-twinport-launch" if secure else "twinport-launch"
