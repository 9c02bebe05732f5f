"""Whether a network that was made quicker still says what it said."""

from __future__ import annotations

import torch

# How far the answers may lie apart: roundings to the network's precision, root mean square. Another
# kernel rounds elsewhere or adds in another order; a wrong weight or bias is far beyond that.
MOST_ROUNDINGS = 2


def same_but_for_rounding(
    changed: torch.Tensor, plain: torch.Tensor, precision: torch.dtype
) -> bool:
    """Whether two answers, computed in `precision`, are equal but for rounding.

    What is no number never is.
    """
    changed, plain = changed.double(), plain.double()
    apart = (changed - plain).square().mean().sqrt()
    return bool(apart <= MOST_ROUNDINGS * torch.finfo(precision).eps * plain.square().mean().sqrt())
