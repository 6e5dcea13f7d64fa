"""Policies of every version that was in force here: shipped now, or kept from before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from privacy.errors import PolicyError
from privacy.policy import Policy, digest_of, load_policy, make_policy, policy_ids, read_policy
from service.stores.policies import PolicyStore


@dataclass(frozen=True, slots=True)
class Edition:
    """One version of one policy. `key` is short enough for an address; `current`: shipped now."""

    key: str
    policy: str
    version: int
    digest: str
    current: bool

    @property
    def name(self) -> str:
        return f"{self.policy} {self.version}" + ("" if self.current else " (earlier)")


class Archive:
    def __init__(self, store: PolicyStore) -> None:
        self._store = store

    def keep_shipped(self) -> None:
        """What is in force today stays readable when another version has taken its place."""
        known = {kept.digest for kept in self._store.all()}
        for name in policy_ids():
            policy = load_policy(name)
            if policy.digest not in known:
                self._store.keep(policy.digest, policy.id, policy.version, read_policy(name))

    def editions(self) -> list[Edition]:
        """By name; of each policy the one in force first."""
        shipped = {load_policy(name).digest for name in policy_ids()}
        found = [
            Edition(
                _key(kept.digest), kept.policy, kept.version, kept.digest, kept.digest in shipped
            )
            for kept in self._store.all()
        ]
        return sorted(found, key=lambda e: (e.policy, not e.current, -e.version))

    def find(self, key: str) -> Edition | None:
        """By the beginning of its digest, or by its name: then the one in force."""
        for edition in self.editions():
            if key == edition.key or (key == edition.policy and edition.current):
                return edition
        return None

    def named(self, digests: Mapping[str, int]) -> "list[Named]":
        """The policies of these digests, the most used first."""
        editions = {edition.digest: edition for edition in self.editions()}
        return [
            self._named(editions.get(digest), digest, n)
            for digest, n in sorted(digests.items(), key=lambda pair: (-pair[1], pair[0]))
        ]

    def _named(self, edition: Edition | None, digest: str, entries: int) -> "Named":
        if edition is None:
            return Named(None, "A policy that is not kept here", entries, digest)
        try:
            policy: Policy | None = self.policy(edition)
        except PolicyError:
            policy = None
        return Named(policy, f"{edition.policy}, version {edition.version}", entries, digest)

    def policy(self, edition: Edition) -> Policy:
        """`PolicyError` where this software cannot read what an earlier one wrote."""
        if edition.current:
            return load_policy(edition.policy)
        table = self._store.table(edition.digest)
        if table is None or digest_of(table) != edition.digest:
            raise PolicyError("the copy that was kept is not what its digest says")
        return make_policy(table)


class Named(NamedTuple):
    """A policy that entries name: itself where it can be read, its name, how many, its digest."""

    policy: Policy | None
    name: str
    entries: int
    digest: str


def _key(digest: str) -> str:
    return digest.removeprefix("sha256:")[:16]
