"""How many of the computer's cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

# Microseconds of processor time in each period; "max" where there is no limit (cgroup v2).
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """The cores that this process may run on, at least 1.

    Fewer than the computer has where it was bound to some of them (taskset, SLURM, a container's
    cpuset), or where a container limits its processor time (`docker run --cpus`).
    """
    try:
        bound = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on every system
        bound = os.cpu_count() or 1
    return int(max(1, min(bound, _limit_of_container())))


def _limit_of_container() -> float:
    try:
        time, period = _CONTAINER_LIMIT.read_text(encoding="ascii").split()
        return math.inf if time == "max" else math.ceil(int(time) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
