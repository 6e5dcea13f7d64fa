"""How a run can end without a result. Messages say the next step and hold no value.

RunError                 the request or the record can't be used
├── Blocked              the privacy gate found identity in the finished document
├── NotConsented         the patient has not allowed the purpose
├── NotConfigured        a server, model or policy that is not known here, or a database too old
└── WriteBackFailed      the twin was made and kept; its results are not all on the server
"""

from collections.abc import Sequence


class RunError(Exception):
    """`code` is from a closed list and may be logged, counted and stored."""

    code = "run-refused"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class Blocked(RunError):  # noqa: N818 - says what happened
    code = "gate-blocked"

    def __init__(self, places: Sequence[str]) -> None:
        super().__init__(
            f"the privacy gate stopped this twin ({', '.join(places)}); nothing was signed or "
            "kept; the privacy officer sees the rule on the desk"
        )
        self.places = tuple(places)


class NotConsented(RunError):  # noqa: N818
    code = "not-consented"


class NotConfigured(RunError):  # noqa: N818
    code = "not-configured"


class WriteBackFailed(RunError):  # noqa: N818
    code = "write-back-failed"
