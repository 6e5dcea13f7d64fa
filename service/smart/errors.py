"""A launch that went no further. The code is a row of `service/web/problems.csv`."""


class LaunchError(Exception):
    """Carries a code, never what was sent."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
