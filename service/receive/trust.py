"""Whose twins are taken: issuers named by a person, each key pinned by its thumbprint."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from privacy.errors import PrivacyError
from privacy.signing import VerificationKeys, public_jwk
from service.receive.errors import NotTrustedError, ReceiveError
from service.stores import Database
from service.stores.errors import ConflictError
from service.stores.foreign import IssuerKey, IssuerStore

OWN = "this installation"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


class Trust:
    """Our own keys, and those of the issuers that somebody has named here."""

    def __init__(self, database: Database, own: Mapping[str, Any]) -> None:
        self._store = IssuerStore(database)
        self._own = {key["kid"]: key["x"] for key in own["keys"]}

    def add(self, issuer: str, key_set: Any, thumbprints: Collection[str]) -> list[str]:
        """Trust those keys of the set whose thumbprints are given, and no other.

        A thumbprint that was read elsewhere (on paper, by telephone) is what ties a key to an
        issuer; the file with the keys could come from anybody.
        """
        if not NAME.fullmatch(issuer):
            raise ReceiveError("an issuer's name is 1 to 40 of a-z, 0-9, `-`, `_` and `.`")
        offered = _offered(key_set)
        if not thumbprints:
            listed = ", ".join(sorted(offered)) or "none"
            raise ReceiveError(
                f"say which keys: --thumbprint, as the issuer tells it. The set has: {listed}"
            )
        for kid in thumbprints:
            if kid not in offered:
                raise ReceiveError("the key set has no key with this thumbprint")
            if kid in self._own:
                raise ReceiveError("this is a key of this installation; it is trusted already")
        try:
            for kid in thumbprints:
                self._store.add(kid, offered[kid], issuer)
        except ConflictError:
            raise ReceiveError("this key is already trusted under another name") from None
        return sorted(thumbprints)

    def remove(self, name: str) -> int:
        return self._store.remove(name)

    def all(self) -> list[IssuerKey]:
        return self._store.all()

    def issuer(self, kid: object) -> str:
        """Whose key this is; `NotTrustedError` for one that nobody here has named."""
        if kid in self._own:
            return OWN
        found = self._store.get(kid) if isinstance(kid, str) else None
        if found is None:
            raise NotTrustedError(
                "it is signed by a key that is not trusted here. Next: ask its issuer for the "
                "thumbprint, then `twinport trust add`"
            )
        return found.issuer

    def keys(self, issuer: str) -> VerificationKeys:
        """All keys of one issuer: what an issuer signed is checked against its own alone."""
        if issuer == OWN:
            found = list(self._own.values())
        else:
            found = [key.x for key in self._store.all() if key.issuer == issuer]
        return VerificationKeys({"keys": [public_jwk(x) for x in found]})


def _offered(key_set: Any) -> dict[str, str]:
    try:
        VerificationKeys(key_set)
        listed = [key for key in key_set["keys"] if key.get("crv") == "Ed25519"]
        return {public_jwk(key["x"])["kid"]: key["x"] for key in listed}
    except (PrivacyError, LookupError, TypeError, ValueError, AttributeError):
        raise ReceiveError("the key file holds no JWK set (JSON with `keys`)") from None
