"""A sealer for tests of the queue: AES-256-GCM under a key of the tests."""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY = bytes(range(32))


class AesSealer:
    def seal(self, plain: bytes, context: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + AESGCM(_KEY).encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        return AESGCM(_KEY).decrypt(sealed[:12], sealed[12:], context)
