"""Python's search for cycles of garbage, set once for a process.

A record of a thousand resources is some hundred thousand dictionaries and lists, all of them in use
until its twin is made. By default the collector looks through the youngest of them every 700; none
of ours is in a cycle, and what is not in a cycle is freed without it. Every 20,000 finds the same
garbage a little later: at most that many objects wait, some megabytes.
"""

import gc

YOUNG = 20_000


def settle() -> None:
    """For a process that has loaded what it needs: that is not looked through again."""
    gc.collect()
    gc.freeze()
    relax()


def relax() -> None:
    gc.set_threshold(YOUNG, 10, 10)
