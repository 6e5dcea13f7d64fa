"""What was pulled, kept as bytes: a hundred thousand resources fit in little memory.

A resource is parsed anew whenever it is looked at. The first megabytes stay as they came; what
comes after is deflated, each by itself, with the first of its type as the dictionary: a long record
says the same things again and again.
"""

import threading
import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import overload

import orjson

from service.fhir.lined import Lined
from service.fhir.versions import Resource, age_rank, version_of

PLAIN_BYTES = 8 << 20
_WINDOW = -12  # 4 kB of dictionary, no header
_MEMORY = 4  # small tables: they are set up anew for each resource
_PLAIN = ord("{")
_MOST_SAMPLES = _PLAIN  # a packed resource begins with the number of its sample


class Packer:
    """Packs the resources of one pull. Threads share it."""

    def __init__(self, plain_bytes: int = PLAIN_BYTES) -> None:
        self._room = plain_bytes
        self._samples: list[bytes] = []
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def pack(self, resource: Resource) -> bytes:
        """Raises ValueError where it is nested deeper than any resource."""
        try:
            plain = bytes(memoryview(orjson.dumps(resource)))  # a copy: without orjson's buffer
        except orjson.JSONEncodeError:
            raise ValueError("nested too deep") from None
        number = self._sample_for(resource["resourceType"], plain)
        return plain if number is None else bytes([number]) + self._deflated(plain, number)

    def unpack(self, packed: bytes) -> Resource:
        if packed[0] != _PLAIN:
            inflate = zlib.decompressobj(_WINDOW, self._samples[packed[0]])
            packed = inflate.decompress(packed[1:])
        resource: Resource = orjson.loads(packed)
        return resource

    def _sample_for(self, kind: str, plain: bytes) -> int | None:
        """None while there is room for plain ones."""
        with self._lock:
            self._room -= len(plain)
            if self._room >= 0:
                return None
            number = self._numbers.get(kind)
            if number is None and len(self._samples) < _MOST_SAMPLES:
                number = self._numbers[kind] = len(self._samples)
                self._samples.append(plain)
            return number

    def _deflated(self, plain: bytes, number: int) -> bytes:
        deflate = zlib.compressobj(
            1, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._samples[number]
        )
        return deflate.compress(plain) + deflate.flush()


class Shelf:
    """The newest version of each resource of one type, and which others have come."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._newest: dict[str, bytes] = {}
        self._others: dict[str, tuple[str, ...]] = {}
        self.superseded = 0

    def __contains__(self, identity: str) -> bool:
        return identity in self._newest

    def met(self, identity: str) -> bool:
        """Whether any version of it came, kept or not."""
        return identity in self._newest or identity in self._others

    def is_new(self, resource: Resource) -> bool:
        """Whether exactly this version has not come before."""
        identity = resource["id"]
        if not self.met(identity):  # the usual
            return True
        version = version_of(resource)
        if version in self._others.get(identity, ()):
            return False
        known = self._newest.get(identity)
        return known is None or version_of(self._packer.unpack(known)) != version

    def note(self, resource: Resource) -> None:
        """It came, and is not kept."""
        identity = resource["id"]
        self._others[identity] = (*self._others.get(identity, ()), version_of(resource))

    def keep(self, resource: Resource) -> bool:
        """Whether it is, by now, the newest. Raises ValueError where it cannot be kept."""
        identity = resource["id"]
        packed = self._packer.pack(resource)
        known = self._newest.get(identity)
        if known is not None:
            self.superseded += 1
            other = self._packer.unpack(known)
            if age_rank(resource) <= age_rank(other):
                self.note(resource)
                return False
            self.note(other)
        self._newest[identity] = packed
        return True

    def drop(self, identity: str) -> None:
        del self._newest[identity]

    def forget(self, identity: str) -> None:
        """As if it had never come."""
        self._newest.pop(identity, None)
        self._others.pop(identity, None)

    @property
    def count(self) -> int:
        """How many resources came, kept or not, each counted once."""
        return len(self._newest) + len(self._others.keys() - self._newest.keys())

    def held(self) -> Iterator[Resource]:
        """Those that are kept, parsed one after the other."""
        return map(self._packer.unpack, self._newest.values())

    def packed(self, identities: Iterable[str] | None = None) -> list[bytes]:
        """These, by default all; in a fixed order, whatever order they came in."""
        return [self._newest[i] for i in sorted(self._newest if identities is None else identities)]

    def as_packed(self, resources: Mapping[str, Resource]) -> dict[bytes, Resource]:
        """By what these, which have just been kept, are packed as; in the same order."""
        return {self._newest[identity]: resources[identity] for identity in sorted(resources)}


class Packed(Sequence[Resource]):
    """Resources, each parsed when it is looked at. Changing one changes nothing in here.

    `parsed`: those among them that are at hand as they were before they were packed, for whoever
    goes through them first. Each is given once.
    """

    def __init__(
        self, packer: Packer, items: list[bytes], parsed: dict[bytes, Resource] | None = None
    ) -> None:
        self._packer, self._items = packer, items
        self._parsed = {} if parsed is None else parsed

    @property
    def items(self) -> Sequence[bytes]:
        """Each as it is packed."""
        return self._items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Resource]:
        return map(self._first_parsed if self._parsed else self._packer.unpack, self._items)

    def _first_parsed(self, item: bytes) -> Resource:
        return self._parsed.pop(item, None) or self._packer.unpack(item)

    @overload
    def __getitem__(self, index: int) -> Resource: ...
    @overload
    def __getitem__(self, index: slice) -> "Packed": ...
    def __getitem__(self, index: int | slice) -> "Resource | Packed":
        if isinstance(index, slice):
            return Packed(self._packer, self._items[index], self._parsed)
        return self._packer.unpack(self._items[index])

    def replaced(self, by_place: Mapping[int, Resource]) -> "Packed":
        items = list(self._items)
        for place, resource in by_place.items():
            items[place] = self._packer.pack(resource)
        return Packed(self._packer, items)

    def without(self, items: Container[bytes]) -> "Packed":
        rest = [item for item in self._items if item not in items]
        return Packed(self._packer, rest, self._parsed)

    def only(self, test: Callable[[Resource], bool]) -> "Packed":
        unpack = self._packer.unpack
        return Packed(self._packer, [item for item in self._items if test(unpack(item))])


def replaced(resources: Sequence[Resource], by_place: Mapping[int, Resource]) -> Sequence[Resource]:
    """With others in these places, packed as they were."""
    if isinstance(resources, Packed):
        return resources.replaced(by_place)
    return [by_place.get(place, resource) for place, resource in enumerate(resources)]


def only(resources: Sequence[Resource], test: Callable[[Resource], bool]) -> Sequence[Resource]:
    """Those that pass, packed as they were."""
    if isinstance(resources, Packed | Lined):
        return resources.only(test)
    return [resource for resource in resources if test(resource)]
