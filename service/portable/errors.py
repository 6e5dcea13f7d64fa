"""What can be wrong with a file from a stranger."""


class PortableError(Exception):
    """One sentence that says what is wrong and, where there is one, the next step."""


class LockedError(PortableError):
    """The key or passphrase does not open it, or it was changed: the cipher can't tell which."""
