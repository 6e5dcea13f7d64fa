"""Where servers send that something has changed. Open, as rest-hooks are: the address is a secret,
and a second one comes in a header. Whoever has not both is told what anybody is told of an address
that does not exist."""

import time
from datetime import timedelta
from hmac import compare_digest

from flask import Blueprint, Response, request

from service.stores.watches import Hook
from service.watch import bodies
from service.watch.notification import Notification, UnreadableError, read_body
from service.watch.numbering import hear
from service.watch.subscribing import PATH, digest
from service.watch.watching import Watching
from service.web.audiences import opened
from service.web.errors import WebError
from service.web.rates import Rates

LONGEST_ADDRESS = 64
LARGEST_BODY = 5 << 20
_JSON = frozenset({"application/fhir+json", "application/json", "application/json+fhir"})


def hooks_blueprint(watching: Watching, requests_per_minute: int) -> Blueprint:
    hooks = Blueprint("hooks", __name__)
    rates = Rates(requests_per_minute)

    @hooks.before_request
    def admit() -> None:
        wait = rates.admit(request.remote_addr or "", time.monotonic())
        if wait is not None:
            raise WebError("throttled", headers={"Retry-After": str(wait)})

    # R4 with a payload treats the address as a base, and puts the resource under it.
    @hooks.route(f"{PATH}/<address>", methods=["POST", "PUT"])
    @hooks.route(f"{PATH}/<address>/<kind>", methods=["POST"], endpoint="of_type")
    @hooks.route(f"{PATH}/<address>/<kind>/<identity>", methods=["PUT"], endpoint="resource")
    @opened
    def receive(address: str, kind: str = "", identity: str = "") -> Response:
        """A notification. It is a hint: whatever it holds, the record is read from its server."""
        hook = _hook(watching, address)
        _take(watching, hook, _told())
        return Response(status=200)

    return hooks


def _hook(watching: Watching, address: str) -> Hook:
    """By address and secret, both or nothing. The secret is compared whether there is a hook or
    not, in constant time."""
    given = digest(request.headers.get(bodies.HEADER, ""))
    found = watching.hooks.at(digest(address)) if len(address) <= LONGEST_ADDRESS else None
    right = compare_digest(given, found.secret if found else digest(""))
    if found is None or not right:
        raise WebError("not-found")
    return found


def _told() -> Notification:
    if (request.content_length or 0) > LARGEST_BODY:
        raise WebError("body-too-large")
    body = request.get_data()
    if body.strip() and request.mimetype not in _JSON:
        raise WebError("unsupported-media-type")
    try:
        return read_body(body)
    except UnreadableError:
        raise WebError("malformed") from None


def _take(watching: Watching, hook: Hook, told: Notification) -> None:
    """Written down before the answer; the look itself is a matter of the queue."""
    store, config = watching.store, watching.config
    now = store.clock()
    patience = timedelta(seconds=config.gap_seconds)
    heard = watching.hooks.change(hook.id, lambda row: hear(row, told, now, patience))
    if heard is not None and heard.look:
        settled = now + timedelta(seconds=config.settle_seconds)
        watch = store.get(hook.watch)
        if watch is not None:
            watching.make_due(watch, settled, heard.whole)
