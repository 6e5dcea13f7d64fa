"""What a route of the JSON API says of itself; OpenAPI is made from it, and tests hold it to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask.typing import RouteCallable
from marshmallow import Schema

from service.web.answers import JSON

_MARK = "__twinport_described__"
_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is no error."""

    text: str
    schema: type[Schema] | None = None
    many: bool = False
    media_type: str = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    summary: str
    answers: Mapping[int, Answer]
    problems: tuple[str, ...] = ()
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    """Media types of a body that is a file."""


def described(
    summary: str,
    answers: Mapping[int, Answer],
    *,
    problems: tuple[str, ...] = (),
    body: type[Schema] | None = None,
    query: type[Schema] | None = None,
    headers: Mapping[str, str] | None = None,
    files: tuple[str, ...] = (),
) -> Callable[[_View], _View]:
    """Say what a route takes and answers. Problems that every route has are not repeated."""
    description = Description(summary, answers, problems, body, query, headers or {}, files)

    def mark(view: _View) -> _View:
        setattr(view, _MARK, description)
        return view

    return mark


def description_of(view: RouteCallable) -> Description | None:
    return getattr(view, _MARK, None)
