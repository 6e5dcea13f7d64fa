"""Shares of a whole as one bar: removed, changed, kept. Each part differs in pattern and place."""

from collections.abc import Mapping

from markupsafe import Markup

from privacy.explain import Amount

WIDTH = 240
ORDER = (Amount.REMOVED, Amount.CHANGED, Amount.KEPT)


def shares(name: str, amounts: Mapping[Amount, int], *, small: bool = False) -> Markup:
    """Numbers stand beside it wherever it is shown. `name` makes the ids of the page unique."""
    total = sum(amounts.get(amount, 0) for amount in ORDER)
    if not total:
        return Markup("")
    height = 8 if small else 18
    parts, x = [], 0.0
    for amount in ORDER:
        width = round(amounts.get(amount, 0) / total * WIDTH, 2)
        if width:
            parts.append(_part(name, amount, x, width, height))
        x += width
    return Markup(
        '<svg class="shares" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" '
        'aria-label="{text}">{pattern}{parts}</svg>'
    ).format(
        w=WIDTH,
        h=height,
        text=_text(amounts, total),
        pattern=_pattern(name),
        parts=Markup("").join(parts),
    )


def _part(name: str, amount: Amount, x: float, width: float, height: int) -> Markup:
    fill = Markup(' fill="url(#{n}-p)"').format(n=name) if amount is Amount.CHANGED else ""
    return Markup('<rect class="{k}" x="{x}" y="0" width="{w}" height="{h}"{f}/>').format(
        k=amount.value, x=round(x, 2), w=width, h=height, f=fill
    )


def _pattern(name: str) -> Markup:
    return Markup(
        '<defs><pattern id="{n}-p" width="4" height="4" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="under" width="4" height="4"/>'
        '<rect class="hatch" width="1.6" height="4"/></pattern></defs>'
    ).format(n=name)


def _text(amounts: Mapping[Amount, int], total: int) -> str:
    return ", ".join(f"{amounts.get(a, 0) / total:.0%} {a.value}" for a in ORDER)
