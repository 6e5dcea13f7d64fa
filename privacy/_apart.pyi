from typing import TypeVar

_Form = TypeVar("_Form", bound=tuple[object, ...])
_Values = tuple[str | int | float, ...]

SOURCE: str
REPEATING: list[str]
BY_THEMSELVES: list[str]

def apart(line: bytes, /) -> tuple[bytes, _Values] | None: ...
def find(forms: dict[bytes, _Form], line: bytes, /) -> tuple[_Form, _Values] | None: ...
def split(bundle: bytes, /) -> list[bytes] | None: ...
