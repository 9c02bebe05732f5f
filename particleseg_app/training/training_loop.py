"""The loop that every training runs: batches in, checkpoints, log and validation out."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.cores import usable_cores
from particleseg_app.errors import Cancelled, RunError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training.augmentation import Augmentation, Randomness
from particleseg_app.training.patches import BatchSource, HeldBackPatches
from particleseg_app.training.prefetching import Prefetcher, pinned
from particleseg_app.training.step_clock import StepClock
from particleseg_app.training.threads import one_thread
from particleseg_app.training.training_log import TrainingLog, log_line

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint_latest.pth"
BEST = "checkpoint_best.pth"  # the averaged weights that did best on held-back data
ASTRAY_AFTER = 5  # steps in a row whose loss is no number
Volumes = Any  # a tensor or an array


class TrainingLoop:
    """What both trainers share. A trainer says how it learns, how far it is and how it is saved."""

    folder: Path
    device: torch.device
    log: TrainingLog
    step: int = 0
    elapsed_s: float = 0.0  # in steps, without validation
    planned_steps: int | None = None  # one of the two
    planned_minutes: float | None = None
    batches: tuple[tuple[int, int], ...]  # (patches, edge) taken in turn
    log_every: int = 25
    checkpoint_every: int = 100
    validate_every: int = 500
    augmentation: Augmentation | None = None  # of every batch before it is learnt
    seed: int = 1  # of the augmentation
    source: BatchSource | None = None
    source_state: list[Any] | None = None  # of the checkpoint that is gone on from

    def learn(self, grey: Volumes, target: Volumes) -> float | torch.Tensor:
        """One step on a batch of a `BatchSource`; returns its loss, which may lie on a card."""
        raise NotImplementedError

    def measure(self, validation: HeldBackPatches) -> float:
        """How well the network does on held-back patches, 0 to 1, noted in the log."""
        raise NotImplementedError

    def rate(self) -> float:
        """The present learning rate."""
        raise NotImplementedError

    def save(self) -> None:
        """Write everything needed to go on as if nothing had happened, and the loss curve."""
        raise NotImplementedError

    @property
    def done(self) -> float:
        """Share of the plan that is done, 0 to 1."""
        if self.planned_steps is not None:
            return min(1.0, self.step / max(1, self.planned_steps))
        return min(1.0, self.elapsed_s / 60 / max(1e-6, self.planned_minutes or 0))

    def run(
        self,
        source: BatchSource,
        validation: HeldBackPatches | None,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        """Train until the plan is done; raises `Cancelled` after saving a checkpoint.

        Raises `RunError` where a batch does not fit on the graphics card, and where the loss is no
        number any more; the last checkpoint is then left as it is.
        """
        import torch

        if self.source_state is not None:
            source.restore(self.source_state)
        self.source = source
        batches, clock = self._batches(source), StepClock(self.device)
        by_steps = self.planned_steps is not None
        planned = self.planned_steps or round(60 * (self.planned_minutes or 0))
        shown = self.step if by_steps else int(self.elapsed_s)
        progress.start("Training", planned, "steps" if by_steps else "seconds", done=shown)
        losses: list[float | torch.Tensor] = []
        latest: float | torch.Tensor = 0.0
        log_line(
            self.folder, f"Goes on after step {self.step}." if self.step else "Begins.", date=True
        )
        try:
            while self.done < 1:
                cancel.check()
                began = time.monotonic()
                with clock.part("data"):
                    grey, target = batches.get(self.step)
                    if self.device.type != "cpu" and source.prefetched:
                        grey, target = self.varied(self.step, grey, target)
                with clock.part("training"):
                    latest = self.learn(grey, target)
                losses.append(latest)
                self.elapsed_s += time.monotonic() - began
                now = self.step if by_steps else int(self.elapsed_s)
                progress.advance(now - shown)
                shown = now
                if self.step % self.log_every == 0 or self.done >= 1:
                    loss = _mean_loss(losses, self.step)
                    self._note(loss, source.scene_count, clock.means())
                    losses = []
                due = self.step % self.validate_every == 0 or self.done >= 1
                if validation is not None and due:
                    score = self.measure(validation)
                    self.log.validation(self.step, score, self.elapsed_s / 60)
                if self.step % self.checkpoint_every == 0 and math.isfinite(latest):
                    self.save()
        except Cancelled:
            self.log.line(f"Stopped after step {self.step}; the same command goes on.")
            raise
        except torch.OutOfMemoryError as error:
            size, edge = max(self.batches, key=lambda batch: batch[0] * batch[1] ** 3)
            raise RunError(
                f"{size} patches of {edge} voxels an edge do not fit on the graphics card.",
                "Train with a smaller batch or edge, or on another device.",
            ) from error
        finally:
            batches.close()
            # Before the first step its settings may still be corrected.
            if self.step and math.isfinite(latest):
                self.save()

    def _batches(self, source: BatchSource) -> Prefetcher:
        """Arrays are made ahead by other threads, tensors on the device when they are due.

        On a processor the other threads vary them too; a graphics card does so itself, in turn.
        """
        if not source.prefetched:
            return Prefetcher(source, self.batches, 0, self.varied)
        if self.device.type == "cpu":
            return Prefetcher(source, self.batches, 1, self.varied)
        ahead = max(2, min(8, usable_cores() - 1))
        return Prefetcher(source, self.batches, ahead, pinned)

    def on_device(self, grey: Volumes, target: Volumes) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch on the device that trains, float32 and uint8; does not wait for the device."""
        import torch

        return (
            torch.as_tensor(grey).to(self.device, non_blocking=True).float(),
            torch.as_tensor(target).to(self.device, non_blocking=True),
        )

    def varied(
        self, step: int, grey: Volumes, target: Volumes
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of a step as it is learnt; the same step varies it in the same way."""
        grey, target = self.on_device(grey, target)
        if self.augmentation is None:
            return grey, target
        with one_thread(self.device):
            randomness = Randomness.of((self.seed, step, 2), self.device)
            return self.augmentation(randomness, grey, target)

    def _note(self, loss: float, scenes: int, means: dict[str, float]) -> None:
        minutes = self.elapsed_s / 60
        times = "  ".join(f"{part} {mean:.1f} ms" for part, mean in means.items())
        self.log.line(
            f"step {self.step}  loss {loss:.4f}  rate {self.rate():.2e}  "
            f"scenes {scenes}  minutes {minutes:.1f}  {times}"
        )
        self.log.loss(self.step, loss, self.rate(), minutes)


def _mean_loss(losses: list[float | torch.Tensor], step: int) -> float:
    """Over the steps whose loss is a number; raises `RunError` where the last ones have none."""
    numbers = [loss for loss in map(float, losses) if math.isfinite(loss)]
    if not any(map(math.isfinite, losses[-ASTRAY_AFTER:])):
        raise RunError(
            f"The training went astray before step {step}: its loss is no number any more.",
            "Begin a new one in another folder, with larger patches or more of them.",
        )
    return sum(numbers) / len(numbers)
