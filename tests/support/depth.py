"""How many examples a property is tried on: a fifth every day, all of them with `--deep`."""

from hypothesis import HealthCheck, Phase, settings

# Most of what a property finds, it finds early; the rest is worth CI's time, not everybody's.
EVERY_DAY = 5
_USUAL = 100
_TO_UNDERSTAND = (Phase.shrink, Phase.explain)
_deep = False


def choose(deep: bool, *, shrink: bool = True) -> None:
    """Before any test module is read: how deep this run goes."""
    global _deep
    _deep = deep
    # How quickly an example is drawn or run says how busy the machine is, not what the code does.
    settings.register_profile(
        "any-machine",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=examples(_USUAL),
        phases=[phase for phase in Phase if shrink or phase not in _TO_UNDERSTAND],
    )
    settings.load_profile("any-machine")


def examples(number: int) -> int:
    """That many in a deep run, a fifth of them every day."""
    return number if _deep else max(10, number // EVERY_DAY)
