"""How many threads of this process may compute at once: a cluster shares a machine's cores out."""

from __future__ import annotations

from particleseg_app.cores import usable_cores

_of_worker: int | None = None


def cores() -> int:
    """Those that this process may use, or the threads that a cluster gave this process."""
    return _of_worker or usable_cores()


def cores_of_worker() -> int | None:
    """The threads that a cluster gave this process; None where it is no worker of one."""
    return _of_worker


def keep_to_cores_of_worker(count: int) -> None:
    """Called in a worker process before it works: it was given `count` threads."""
    global _of_worker
    _of_worker = count
