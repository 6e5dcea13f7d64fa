"""Which events have come, which are missing: by their numbers, in whatever order they arrive."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from service.stores.watches import Hook, HookState
from service.watch.notification import Kind, Notification

MOST_AHEAD = 500


class Heard(NamedTuple):
    """What follows: a look, and whether at everything."""

    look: bool = False
    whole: bool = False


def hear(hook: Hook, told: Notification, now: datetime, patience: timedelta) -> Heard:
    """Take a notification in: `hook` is changed."""
    hook.seen = now
    if told.status in (HookState.ERROR, HookState.OFF):
        hook.state = HookState(told.status)
        hook.gap_since, hook.look = now, now
        return Heard(look=True, whole=True)
    match told.kind:
        case Kind.SOMETHING:
            hook.state = HookState.ACTIVE
            return Heard(look=True)
        case Kind.HANDSHAKE:
            return _shaken(hook, told)
        case Kind.HEARTBEAT:
            return _behind(hook, told.total)
        case Kind.EVENT:
            hook.state = HookState.ACTIVE
            new = _count(hook, told.numbers, now, patience)
            return Heard(look=new, whole=new and (told.deleted or len(hook.ahead) > MOST_AHEAD))
    return Heard()


def _shaken(hook: Hook, told: Notification) -> Heard:
    """It begins, or begins again: from where the server says."""
    hook.state, hook.error, hook.failures = HookState.ACTIVE, "", 0
    heard = _behind(hook, told.total)
    hook.last, hook.ahead, hook.gap_since = told.total or 0, [], None
    return heard


def _behind(hook: Hook, total: int | None) -> Heard:
    """More events than have come: what they were is found by pulling everything. Those still under
    way tell of changes that are made by now, and are passed over when they come."""
    highest = max([hook.last, *hook.ahead])
    if total is None or total <= highest:
        return Heard()
    close(hook, total)
    return Heard(look=True, whole=True)


def close(hook: Hook, last: int) -> None:
    """Nothing before this is missing any more."""
    hook.last, hook.ahead, hook.gap_since = last, [], None


def _count(hook: Hook, numbers: Iterable[int], now: datetime, patience: timedelta) -> bool:
    """Whether any of them is new. A number that is missing may still come: `look` says until when
    it is waited for."""
    fresh = {n for n in numbers if n > hook.last} - set(hook.ahead)
    ahead = sorted(fresh.union(hook.ahead))
    while ahead and ahead[0] == hook.last + 1:
        hook.last = ahead.pop(0)
    hook.ahead = ahead
    if not ahead:
        hook.gap_since = None
    elif hook.gap_since is None:
        hook.gap_since = now
        hook.look = min(hook.look, now + patience)
    return bool(fresh)
