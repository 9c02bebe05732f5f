"""Threads inside of single pieces of work on a processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """On a processor, work of this thread is not shared with others.

    Changes to a patch are many short pieces of work; threads that share them wait for each other
    longer than they work as soon as the computer does anything besides.
    """
    import torch

    if device.type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
