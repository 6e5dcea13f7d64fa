"""Who a route is for, said beside the route. A route that says nothing stops the start.

`@opened` is for the few routes anybody may call; `@closed()` for every other. The gate reads the
declaration before the view runs, so a view cannot forget to ask.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask
from flask.typing import RouteCallable

from service.auth import Principal, Role, Scope
from service.auth.principals import BOUND_CLINICIAN

_MARK = "__twinport_audience__"
_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may call a route. No scope and no roles: whoever is signed in."""

    scope: Scope | None = None
    roles: frozenset[Role] = frozenset()
    is_open: bool = False
    is_page: bool = False  # a person's browser: sent to the sign-in page instead of a bare 401

    def admits(self, principal: Principal) -> bool:
        if self.roles and principal.role not in self.roles:
            return False
        return self.scope is None or self.scope in principal.scopes

    @property
    def admits_bound(self) -> bool:
        """Whether a clinician launched from one patient's chart gets in."""
        fits = self.scope is None or self.scope in BOUND_CLINICIAN
        return fits and (not self.roles or Role.EHR in self.roles)


OPEN = Audience(is_open=True)


def opened(view: _View) -> _View:
    """Anybody may call this."""
    setattr(view, _MARK, OPEN)
    return view


def closed(
    scope: Scope | None = None, *, roles: tuple[Role, ...] = (), page: bool = False
) -> Callable[[_View], _View]:
    """Only a signed-in caller with this scope, and one of these roles where any is named."""

    def mark(view: _View) -> _View:
        setattr(view, _MARK, Audience(scope, frozenset(roles), is_page=page))
        return view

    return mark


def audience_of(view: RouteCallable) -> Audience | None:
    return getattr(view, _MARK, None)


def audiences(app: Flask) -> dict[str, Audience]:
    """The audience of every endpoint; raises for the first one that has none."""
    found: dict[str, Audience] = {}
    for rule in app.url_map.iter_rules():
        declared = (
            OPEN if rule.endpoint == "static" else audience_of(app.view_functions[rule.endpoint])
        )
        if declared is None:
            raise RuntimeError(
                f"route {rule.rule} ({rule.endpoint}) does not say who it is for. "
                "Next: put @closed(...) or @opened under its route decorator"
            )
        found[rule.endpoint] = declared
    return found
