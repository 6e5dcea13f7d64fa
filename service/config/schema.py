"""The marshmallow schema, derived from the sections."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, fields, post_load, validate

from service.config.sections import Config

_KEY = validate.Regexp(
    r"^[a-z0-9][a-z0-9_-]{0,39}\Z", error="Use 1-40 of a-z, 0-9, '-' and '_' for the name"
)


class _SectionSchema(Schema):
    """Checks a plain mapping and builds the frozen section from it."""

    section: type

    class Meta:
        unknown = RAISE

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> Any:
        return self.section(**{name: _frozen(value) for name, value in data.items()})


def config_schema() -> Schema:
    return schema_for(Config)


def schema_for(section: type) -> Schema:
    members: dict[str, Any] = {item.name: _member(item) for item in dataclasses.fields(section)}
    name = f"{section.__name__}Schema"
    built: type[_SectionSchema] = type(name, (_SectionSchema,), {**members, "section": section})
    return built()


def _member(item: "dataclasses.Field[Any]") -> fields.Field[Any]:
    meta: Mapping[str, Any] = item.metadata
    if "home" in meta:
        return _HomeField(required=True)
    if "words" in meta:
        return fields.Dict(keys=fields.String(validate=_KEY), values=fields.String(validate=_KEY))
    if "key" in meta:
        return fields.Dict(
            keys=fields.String(validate=_KEY), values=fields.Nested(schema_for(meta["section"]))
        )
    if isinstance(item.default_factory, type):
        return fields.Nested(schema_for(item.default_factory))
    check: fields.Field[Any] = meta["check"]
    check.required = item.default is dataclasses.MISSING
    return check


class _HomeField(fields.Field[Any]):
    """The home is worked out by the loader and handed in as a path already."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
