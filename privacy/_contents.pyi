from collections import defaultdict
from typing import Any

SOURCE: str

def contents(documents: list[bytes], seed: int, /) -> tuple[set[str], set[str]] | None: ...
def walked(
    nodes: list[dict[str, Any]],
    context: int,
    texts: tuple[defaultdict[str, set[str]], ...],
    pending: list[list[dict[str, Any]]],
    below: dict[str, int],
    /,
) -> tuple[int, int]: ...
