"""Copies of a network that share its weights and split each batch, one processor core each.

Threads that work on whole patches wait for each other once a step; threads inside each layer would
wait hundreds of times, which is slow on a computer that does other work besides.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from particleseg_app.training.losses import deep_supervision_loss
from particleseg_app.training.network import freeze_statistics
from particleseg_app.training.precision import training_precision

if TYPE_CHECKING:
    import torch


class Replicas:
    """`count` views of `network`: the same weights, their own gradients and batch statistics."""

    def __init__(self, network: torch.nn.Module, count: int) -> None:
        self._networks = [network]
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

        precision = training_precision(grey.device)

        def one(part: int) -> torch.Tensor:
            if grey.device.type == "cpu" and len(self._networks) > 1:
                torch.set_num_threads(1)
            images = grey[part :: len(self._networks)]
            images = images.contiguous(memory_format=torch.channels_last_3d)
            with torch.autocast(grey.device.type, precision, enabled=precision is not None):
                outputs = self._networks[part](images)
            loss = deep_supervision_loss(outputs, target[part :: len(self._networks)])
            scaler.scale(loss).backward()
            return loss.detach()

        losses = list(self._pool.map(one, range(len(self._networks))))
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
