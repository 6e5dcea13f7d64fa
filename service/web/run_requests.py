"""What the JSON API and the façade share about runs: whose they are, and what may be asked for."""

import re

from service.auth import Principal, Role
from service.web.errors import Fault, WebError
from service.web.ports import Failure, Run, RunRequest, RunState
from service.web.services import services, settings

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEES_ALL = frozenset({Role.PRIVACY_OFFICER, Role.ADMIN})


def check_server(request: RunRequest, where: str) -> None:
    """Only configured names. Whatever looks like an address is refused as such: a caller must
    never make this service send requests into the network behind it."""
    if not _NAME.fullmatch(request.server):
        raise WebError("address-refused", faults=[Fault(where, "Must be a configured name.")])
    server = settings().servers.get(request.server)
    if server is None:
        names = ", ".join(sorted(settings().servers)) or "none"
        step = f"Name one of the configured servers: {names}."
        raise WebError(Failure.UNKNOWN_SERVER, next_step=step)
    if request.write_back and not server.write_back:
        raise WebError(Failure.WRITE_BACK_OFF)


def visible_run(run_id: str, principal: Principal) -> Run:
    """A run within the caller's reach: a program sees what it started itself."""
    if not _ID.fullmatch(run_id):
        raise WebError(Failure.NOT_FOUND)
    run = services().runs.run(run_id)
    if principal.role not in _SEES_ALL and run.requested_by != principal.subject:
        raise WebError(Failure.NOT_FOUND)
    return run


def own_runs_only(principal: Principal) -> str | None:
    return None if principal.role in _SEES_ALL else principal.subject


def failure_code(run: Run) -> str:
    """The code a failed run is shown under; what is recorded may be finer."""
    if run.state is RunState.CANCELLED:
        return Failure.CANCELLED.value
    known = {failure.value for failure in Failure}
    return run.error if run.error in known else Failure.FAILED.value


def raise_unless_done(run: Run, location: str) -> Run:
    """An ended run that made nothing is an error to whoever waited for it."""
    if run.state is RunState.DONE:
        return run
    raise WebError(failure_code(run), headers={"Location": location}, run_id=run.id)
