"""Keys: ``KeyRing.open(...)`` loads them, making them on first use; ``rotate`` renews one kind."""

from service.keys.errors import KeyRefusedError
from service.keys.ring import KeyRing, Kind, RetiredKey, SecretKey, SigningKey
from service.keys.vaults import open_vault, rotate_vault

__all__ = [
    "KeyRefusedError",
    "KeyRing",
    "Kind",
    "RetiredKey",
    "SecretKey",
    "SigningKey",
    "open_vault",
    "rotate_vault",
]
