"""Threads do not survive a fork: what would wait for them for ever says so instead."""

import os

_CURE = (
    "threads that this process began before a fork are not in this child: start workers by spawn "
    "(multiprocessing.get_context(\"spawn\"), DataLoader(..., multiprocessing_context=\"spawn\")), or compute in the child alone"
)

_computed_in = None


def computes():
    """Called before anything that computes on threads of the process.

    Raises RuntimeError in a child that was forked from a process that has computed already.
    """
    global _computed_in
    if _computed_in is None:
        _computed_in = os.getpid()
    elif _computed_in != os.getpid():
        raise RuntimeError(_CURE)
