"""Why a key was refused: which file, what is wrong, what to do. Never the key."""

from privacy.errors import KeyRefusedError as PrivacyKeyRefusedError


class KeyRefusedError(PrivacyKeyRefusedError):
    """A key file or key that must not be used."""
