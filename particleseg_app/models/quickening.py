"""Changes that make a network quicker: each is made, checked, and taken back where it does harm.

What such a change does may depend on a card, its driver and the version of torch, so none is
trusted: the network says what some tile is before and after, and where that differs by more than
rounding, or anything fails, the network is put back as it was and is only slower.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch

from particleseg_app.errors import Cancelled

# How far the answers may lie apart: roundings to the network's precision, root mean square. Another
# kernel rounds elsewhere or adds in another order; a wrong weight or bias is far beyond that.
MOST_ROUNDINGS = 2

_log = logging.getLogger(__name__)


class Quickening(Protocol):
    """A change of one network. It says what it said, up to rounding, in less time.

    `precision` is what the network computes in. `if_other`, `if_failed`: for the log, where the
    network then answers otherwise, or where the change cannot be made.
    """

    precision: torch.dtype
    if_other: str
    if_failed: str

    def possible(self) -> bool:
        """Whether there is anything to change; only then is the network asked at all."""
        ...

    def make(self) -> None: ...

    def take_back(self) -> None:
        """Put the network back as it was, also where `make` failed half-way."""
        ...


def quicken(change: Quickening, answer: Callable[[], torch.Tensor]) -> bool:
    """Make a change that leaves the answer the same; whether it is made now.

    `answer` is what the network says of some tile, computed in that precision: it is asked before
    and after, and a network that does not say the same is put back as it was. Raises only
    `Cancelled`.
    """
    if not change.possible():
        return False
    try:
        plain = answer()
        change.make()
        if same_but_for_rounding(answer(), plain, change.precision):
            return True
        _log.warning("%s", change.if_other)
    except Cancelled:
        raise
    # Whatever is missing or broken, the network without the change does the same.
    except Exception as error:
        _log.info("%s (%s).", change.if_failed, error)
    change.take_back()
    return False


def same_but_for_rounding(
    changed: torch.Tensor, plain: torch.Tensor, precision: torch.dtype
) -> bool:
    """Whether two answers, computed in `precision`, are equal but for rounding.

    What is no number never is.
    """
    changed, plain = changed.double(), plain.double()
    apart = (changed - plain).square().mean().sqrt()
    return bool(apart <= MOST_ROUNDINGS * torch.finfo(precision).eps * plain.square().mean().sqrt())
