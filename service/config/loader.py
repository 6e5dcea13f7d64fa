"""Reading downward: defaults, the TOML file, the environment; then shape, then safety."""

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from marshmallow import ValidationError, fields

from service.config.errors import ConfigError, Problem
from service.config.safety import unsafe
from service.config.schema import config_schema
from service.config.sections import Config
from service.config.table import env_only_paths, kinds

PREFIX = "TWINPORT_"
FILE_NAME = "twinport.toml"
_PLACES = frozenset({"TWINPORT_HOME", "TWINPORT_CONFIG"})
_OTHER_READERS = ("TWINPORT_TEST_", "TWINPORT_INTEROP_", "TWINPORT_BENCH_")
_SERVICE_LINKS = ("PORT", "SERVICE_HOST", "SERVICE_PORT")


def load_config(environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of this process; raises ``ConfigError`` with every problem found."""
    env = os.environ if environ is None else environ
    home = _prepare_home(_home_of(env))
    file = Path(env.get("TWINPORT_CONFIG") or home / FILE_NAME)
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    _overlay(tree, _read_file(file, required="TWINPORT_CONFIG" in env), origins, str(file))
    _refuse_env_only(origins)
    for name, path, value in _from_environment(env):
        _put(tree, path, value, name)
        origins[".".join(path)] = name
    config = _checked(tree, home, origins)
    _refuse([p._replace(origin=_origin(p.path, origins)) for p in unsafe(config)])
    return config


# -- home --------------------------------------------------------------------------------------


def _home_of(env: Mapping[str, str]) -> Path:
    given = env.get("TWINPORT_HOME")
    return Path(given).expanduser().absolute() if given else Path.home() / ".twinport"


def _prepare_home(home: Path) -> Path:
    """Others may not write here: whoever can write the home can swap the keys in it."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(home.stat().st_mode)
    except OSError as error:
        reason = f"cannot be created ({type(error).__name__})"
        step = "set TWINPORT_HOME to a folder this user may write"
        raise ConfigError([Problem("home", reason, step)]) from error
    if mode & 0o022:
        step = f"chmod go-w {home}"
        raise ConfigError([Problem("home", "other users may write in it", step, "TWINPORT_HOME")])
    return home


# -- sources -----------------------------------------------------------------------------------


def _read_file(file: Path, *, required: bool) -> dict[str, Any]:
    if not required and not file.exists():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        step = "correct TWINPORT_CONFIG or create the file"
        problem = Problem(str(file), f"cannot be read ({type(error).__name__})", step)
    except UnicodeDecodeError:
        problem = Problem(str(file), "is not UTF-8 text", "save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        # The parser's message may quote what it stumbled over; only its position is repeated.
        problem = Problem(str(file), f"is not valid TOML {_position(str(error))}".rstrip())
    raise ConfigError([problem])


def _position(message: str) -> str:
    start = message.rfind("(at ")
    return message[start:] if start >= 0 else ""


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    known = kinds()
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in _PLACES or name.startswith(_OTHER_READERS):
            continue
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        _refuse_service_link(name)
        yield name, path, _read_as(known.get(_pattern(path)), env[name])


def _refuse_service_link(name: str) -> None:
    """A Kubernetes service called `twinport` puts such names into every container beside it."""
    if name.removeprefix(PREFIX).startswith(_SERVICE_LINKS):
        step = "set enableServiceLinks: false on the pod, or unset it"
        raise ConfigError([Problem(name, "is no setting but a Kubernetes service link", step)])


def _read_as(kind: type | None, text: str) -> Any:
    """The environment knows text only; what cannot be read is left for the schema to refuse."""
    if kind is fields.List:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is fields.Integer and text.strip().isascii() and text.strip().isdigit():
        return int(text)
    return text


def _pattern(path: tuple[str, ...]) -> str:
    if path[0] == "servers" and len(path) > 2:
        return ".".join(("servers", "<name>", *path[2:]))
    return ".".join(path)


def _overlay(
    tree: dict[str, Any], values: Mapping[str, Any], origins: dict[str, str], origin: str
) -> None:
    for path, value in _leaves(values):
        _put(tree, path, value, origin)
        origins[".".join(path)] = origin


def _leaves(
    values: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any, origin: str) -> None:
    node: Any = tree
    for name in path[:-1]:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            problem = Problem(
                ".".join(path), "is below a single value", "see the table of settings"
            )
            raise ConfigError([problem._replace(origin=origin)])
    node[path[-1]] = value


# -- checks ------------------------------------------------------------------------------------


def _refuse_env_only(file_origins: Mapping[str, str]) -> None:
    step = "give it in the environment, or keep the key file in the home"
    _refuse(
        [
            Problem(path, "does not belong in a settings file", step, file_origins[path])
            for path in env_only_paths()
            if path in file_origins
        ]
    )


def _checked(tree: dict[str, Any], home: Path, origins: Mapping[str, str]) -> Config:
    if "home" in tree:
        step = "set TWINPORT_HOME in the environment"
        raise ConfigError([Problem("home", "cannot be set here", step, _origin("home", origins))])
    try:
        return cast(Config, config_schema().load({**tree, "home": home}))
    except ValidationError as error:
        raise ConfigError(list(_shape_problems(error.messages, (), origins))) from None


def _shape_problems(
    messages: Any, path: tuple[str, ...], origins: Mapping[str, str]
) -> Iterator[Problem]:
    if isinstance(messages, Mapping):
        for name, below in messages.items():
            # marshmallow marks the two sides of a table entry; only the name is of interest.
            step = path if name in {"key", "value", "_schema"} else (*path, str(name))
            yield from _shape_problems(below, step, origins)
        return
    where = ".".join(path)
    for message in messages if isinstance(messages, list) else [messages]:
        yield Problem(where, _reason(message), _shape_step(message), _origin(where, origins))


def _reason(message: str) -> str:
    return "is not a setting" if message == "Unknown field." else message


def _shape_step(message: str) -> str:
    if message == "Unknown field.":
        return "see the table of settings in docs/operations.md for the right name"
    return ""


def _origin(path: str, origins: Mapping[str, str]) -> str:
    inside = path + "."
    return next((o for p, o in origins.items() if p == path or p.startswith(inside)), "")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError(problems)
