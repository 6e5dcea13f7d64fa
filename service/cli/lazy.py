"""Groups whose commands are loaded when asked for: nobody waits for what another command needs."""

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """`later`: where a command is, by its name, as `module:attribute`."""

    def __init__(
        self, *args: Any, later: Mapping[str, str] | None = None, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.later = dict(later or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self.later]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.later:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.later[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command
