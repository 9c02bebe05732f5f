"""Copies of a network that share its weights and split each batch, one processor core each.

Threads that work on whole patches wait for each other once a step; threads inside each layer would
wait hundreds of times, which is slow on a computer that does other work besides.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from particleseg_app.training.losses import deep_supervision_loss
from particleseg_app.training.network import coarsest_edge, freeze_statistics
from particleseg_app.training.precision import training_precision

if TYPE_CHECKING:
    import torch

# Class scores (n, 3, z, y, x) and encoded targets (n, z, y, x) → something for each patch.
Observer = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


class Replicas:
    """`count` views of `network`: the same weights, their own gradients and batch statistics."""

    def __init__(
        self,
        network: torch.nn.Module,
        count: int,
        critical_weight: float = 1.0,
        observe: Observer | None = None,
    ) -> None:
        """`critical_weight`: of the loss. `observe` gets the finest class scores and the targets of
        every batch; what it makes of them is in `seen` after `gradients`.
        """
        import torch

        self._networks = [network]
        self._critical_weight = critical_weight
        self._observe = observe
        self.seen: torch.Tensor | None = None
        self._threads = torch.get_num_threads() if count == 1 else 1
        for _ in range(count - 1):
            replica = copy.deepcopy(network)
            for own, shared in zip(replica.parameters(), network.parameters(), strict=True):
                own.data = shared.data
            self._networks.append(replica)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="replica")
        self._frozen = False

    def train(self, frozen: bool) -> None:
        """Training mode; `frozen`: with the batch statistics of the first replica, unchanged."""
        if frozen and not self._frozen:
            for replica in self._networks[1:]:
                for own, shared in zip(replica.buffers(), self._networks[0].buffers(), strict=True):
                    own.copy_(shared)
        self._frozen = frozen
        for network in self._networks:
            network.train()
            if frozen:
                freeze_statistics(network)

    def gradients(
        self, grey: torch.Tensor, target: torch.Tensor, scaler: torch.GradScaler
    ) -> torch.Tensor:
        """Leave the mean gradient of the batch, times `scaler`'s factor, in the first network.

        Returns the mean loss, on the device: reading it there would wait for the whole step.
        """
        import torch

        coarsest = coarsest_edge(self._networks[0], min(grey.shape[2:]))
        precision = training_precision(grey.device, coarsest)

        def one(part: int) -> tuple[torch.Tensor, torch.Tensor | None]:
            if grey.device.type == "cpu":
                torch.set_num_threads(self._threads)  # of this thread
            images = grey[part :: len(self._networks)]
            images = images.contiguous(memory_format=torch.channels_last_3d)
            with torch.autocast(grey.device.type, precision, enabled=precision is not None):
                outputs = self._networks[part](images)
            wanted = target[part :: len(self._networks)]
            loss = deep_supervision_loss(outputs, wanted, self._critical_weight)
            scaler.scale(loss).backward()
            seen = None if self._observe is None else self._observe(outputs[0].detach(), wanted)
            return loss.detach(), seen

        parts = list(self._pool.map(one, range(len(self._networks))))
        losses = [loss for loss, _ in parts]
        self.seen = _interleaved([seen for _, seen in parts if seen is not None])
        first = list(self._networks[0].parameters())
        for replica in self._networks[1:]:
            for own, shared in zip(replica.parameters(), first, strict=True):
                if own.grad is not None:
                    shared.grad = own.grad if shared.grad is None else shared.grad.add_(own.grad)
                    own.grad = None
        for shared in first:
            if shared.grad is not None:
                shared.grad /= len(self._networks)
        return torch.stack(losses).mean()


def _interleaved(parts: list[torch.Tensor]) -> torch.Tensor | None:
    """What each replica saw of every so-and-so-manieth patch, in the order of the batch."""
    import torch

    if not parts:
        return None
    joined = torch.empty(
        (sum(map(len, parts)), *parts[0].shape[1:]), dtype=parts[0].dtype, device=parts[0].device
    )
    for number, part in enumerate(parts):
        joined[number :: len(parts)] = part
    return joined
