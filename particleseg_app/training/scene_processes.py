"""Processes that make simulated scans and patches beside the one that trains."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

from particleseg_app.cores import usable_cores

MOST_BESIDE_A_CARD = 15


def scene_processes(count: int, temporary: Path | None = None) -> ProcessPoolExecutor:
    """`count` processes with one thread each, which end when the process that asked is gone.

    `temporary`: a folder that goes with them if that process was killed.
    """
    # Not forked: the process that trains has threads, and perhaps a graphics card.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_begin, initargs=(temporary,))


def processes_beside(device: str) -> int:
    """How many processes may make scenes while a network is trained on `device`.

    A processor that trains has no core to spare; beside a graphics card most cores are idle.
    """
    if device.startswith("cpu"):
        return 1
    return max(1, min(MOST_BESIDE_A_CARD, usable_cores() - 1))


def _begin(temporary: Path | None) -> None:
    # There are as many processes as cores: threads inside of them would only wait.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    Thread(target=_end_with_parent, args=(temporary,), daemon=True).start()


def _end_with_parent(temporary: Path | None) -> None:
    """A pool does not notice that its owner was killed: its processes would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
    os._exit(1)
