"""Why a key was refused: which file, what is wrong, what to do. Never the key."""


class KeyRefusedError(Exception):
    """A key file or key that must not be used."""
