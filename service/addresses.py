"""Rules of addresses that learn to write an address when one is first asked for.

Werkzeug compiles two functions for every rule while an application is made, which is most of what
making one takes. Few of them are ever called: most addresses are only read.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

from werkzeug.routing import Rule

Build = Callable[..., tuple[str, str]]

# CPython 3.11 cannot turn syntax trees into code in two threads at once (gh-106905).
_COMPILING = Lock()


class LateRule(Rule):
    def _compile_builder(self, append_unknown: bool = True) -> Build:
        compiled: list[Build] = []

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:
            if not compiled:
                with _COMPILING:
                    compiled.append(compile_now(append_unknown))
            return compiled[0](rule, **values)

        compile_now = super()._compile_builder
        return build
