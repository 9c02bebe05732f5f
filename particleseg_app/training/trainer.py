"""Training of a border-core network on any machine: resumable, planned by steps or by minutes."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.durable_files import part_file
from particleseg_app.errors import ModelError
from particleseg_app.models.predictor import reduced_precision
from particleseg_app.training.augmentation import Augmentation, vary_patches
from particleseg_app.training.hard_places import wrong_cells
from particleseg_app.training.network import architecture, network_of
from particleseg_app.training.patches import HeldBackPatches
from particleseg_app.training.replicas import Replicas
from particleseg_app.training.scene_pool import CONTACT_BIT
from particleseg_app.training.training_log import TrainingLog
from particleseg_app.training.training_loop import BEST, CHECKPOINT, TrainingLoop

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; lengths in voxels at the working scale."""

    features: tuple[int, ...] = (16, 32, 64, 128, 128)
    normalised: bool = True  # with batch normalisation; False: as a shipped network, to go on from
    architecture: dict[str, Any] | None = None  # of another network, which is trained as it is
    border_thickness: float = 2.0
    steps: int | None = None  # give one of steps and minutes
    minutes: float | None = 75.0
    batches: tuple[tuple[int, int], ...] = ((4, 64),)  # (patches, edge) taken in turn
    replicas: int = 2  # copies of the network that share the batch, one thread each
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warm_up_steps: int = 60
    freeze_at: float = 0.35  # share of the training after which statistics stay fixed
    average_decay: float = 0.998  # of the running average of the weights
    critical_weight: float = 1.0  # of mistakes that join or cut particles; 1: as any other
    seed: int = 1
    device: str = "cpu"
    checkpoint_every: int = 200
    validate_every: int = 500
    validation_patches: int = 24
    validation_edge: int = 96

    def network(self) -> dict[str, Any]:
        """The `architecture` entry of the network that is trained."""
        return self.architecture or architecture(self.features, self.normalised)


class Trainer(TrainingLoop):
    """AdamW on a network of any kind; the result is the running average of its weights."""

    def __init__(
        self,
        folder: Path,
        settings: TrainingSettings,
        initial: dict[str, torch.Tensor] | None = None,
        augmentation: Augmentation | None = vary_patches,
        learned: Callable[[int, torch.Tensor], None] | None = None,
    ) -> None:
        """Go on with the training in `folder`, or begin one there from the weights `initial`.

        `augmentation` changes every batch before it is learnt. `learned` gets the number of each
        step and what `hard_places.wrong_cells` says of it.
        """
        import torch

        self.folder = folder
        self.settings = settings
        self.augmentation, self.seed = augmentation, settings.seed
        self.planned_steps, self.planned_minutes = settings.steps, settings.minutes
        self.batches = settings.batches
        self.checkpoint_every = settings.checkpoint_every
        self.validate_every = settings.validate_every
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.seed)
        self.device = torch.device(settings.device)
        torch.backends.cudnn.benchmark = True  # the patches of a training have one size or two
        self.network = network_of(settings.network(), deep_supervision=True)
        if initial is not None:
            self.network.load_state_dict(initial)
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = network_of(settings.network()).to(self.device)
        self.average.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._precision = reduced_precision(self.device)
        self.scaler = _scaler(self.device, self._precision)
        self._update_average(0.0)
        if (folder / CHECKPOINT).exists():
            self._resume(folder / CHECKPOINT)
        self.best_score = _score_of(folder / BEST, self.step)
        self.log = TrainingLog(folder, self.step)
        self._learned = learned
        self.replicas = Replicas(
            self.network, settings.replicas, settings.critical_weight,
            None if learned is None else wrong_cells,
        )  # fmt: skip

    def learn(self, grey: Any, target: Any) -> torch.Tensor:
        import torch

        self.replicas.train(frozen=self.done >= self.settings.freeze_at)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.replicas.gradients(
            *self.on_device(grey, target),
            self.scaler,
        )
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 3.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self._learned is not None and self.replicas.seen is not None:
            self._learned(self.step, self.replicas.seen)
        self.step += 1
        self._update_average(min(self.settings.average_decay, 1 - 1 / (0.2 * self.step + 1)))
        return loss

    def measure(self, validation: HeldBackPatches) -> float:
        """Mean Dice of foreground and core of the averaged weights; the best ones are kept."""
        import torch

        scores = self.validate(validation)
        self.log.line("validation  " + "  ".join(f"{k} {v:.4f}" for k, v in scores.items()))
        score = (scores["foreground dice"] + scores["core dice"]) / 2
        if score > self.best_score:
            self.best_score = score
            state = self._state()
            best = {key: state[key] for key in ("settings", "step", "elapsed_s", "average")}
            with part_file(self.folder / BEST) as part:
                torch.save({**best, "score": score}, part)
        return score

    def validate(self, source: HeldBackPatches) -> dict[str, float]:
        """Dice of foreground and core of the averaged network on patches of held-back scenes.

        `core at contacts`: share of the contact voxels wrongly taken for core, which joins
        particles.
        """
        import torch

        edge = self.settings.validation_edge
        self.average.eval()
        overlap = {"foreground": 0, "core": 0}
        total = {"foreground": 0, "core": 0}
        touching = wrong = 0
        for index in range(self.settings.validation_patches):
            grey, target = source.plain_patch(index, edge)
            with (
                torch.inference_mode(),
                torch.autocast(
                    self.device.type, self._precision, enabled=self._precision is not None
                ),
            ):
                image = torch.from_numpy(grey).to(self.device)
                logits = self.average(image.contiguous(memory_format=torch.channels_last_3d))
            found = logits.float().argmax(1).cpu().numpy()[0]
            wanted = target & 3
            for name, a, b in (
                ("foreground", found > 0, wanted > 0),
                ("core", found == 1, wanted == 1),
            ):
                overlap[name] += int((a & b).sum())
                total[name] += int(a.sum() + b.sum())
            near = (target & CONTACT_BIT > 0) & (wanted != 1)
            touching += int(near.sum())
            wrong += int((near & (found == 1)).sum())
        scores = {f"{name} dice": 2 * overlap[name] / max(1, total[name]) for name in overlap}
        return {**scores, "core at contacts": wrong / max(1, touching)}

    def save(self) -> None:
        import torch

        with part_file(self.folder / CHECKPOINT) as part:
            torch.save(self._state(), part)
        self.log.write()

    def _state(self) -> dict[str, Any]:
        return {
            "settings": _plain(asdict(self.settings)),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "source": None if self.source is None else self.source.state(self.step),
        }

    def _resume(self, path: Path) -> None:
        import torch

        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])
            if state.get("scaler"):
                self.scaler.load_state_dict(state["scaler"])
            self.source_state = state.get("source")
        except (RuntimeError, KeyError, EOFError, ValueError) as error:
            raise ModelError(
                f"The training in {path.parent} does not fit these settings.",
                "Choose another folder, or the settings it was begun with.",
            ) from error

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.settings.warm_up_steps)
        cosine = 0.5 + 0.5 * math.cos(math.pi * self.done)
        return self.settings.learning_rate * warm * max(0.005, cosine)

    def _update_average(self, decay: float) -> None:
        import torch

        # Not over state_dict, which names most weights more than once.
        with torch.no_grad():
            own: list[torch.Tensor] = list(self.average.parameters())
            now: list[torch.Tensor] = list(self.network.parameters())
            torch._foreach_lerp_(own, now, 1 - decay)
            buffers = zip(self.average.buffers(), self.network.buffers(), strict=True)
            for kept, latest in buffers:
                kept.copy_(latest)


def _scaler(device: torch.device, precision: torch.dtype | None) -> torch.GradScaler:
    """Scales the gradients of float16; on a processor it only leaves out steps that are no numbers.

    On a card with bfloat16 it does nothing, because it would wait for the card at every step.
    """
    import torch

    if device.type == "cpu":
        return torch.GradScaler("cpu", init_scale=1.0, growth_interval=1_000_000_000)
    return torch.GradScaler(device.type, enabled=precision is torch.float16)


def averaged_network(path: Path) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The averaged network of a training checkpoint and the checkpoint's own figures."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    settings = state["settings"]
    network = network_of(
        settings.get("architecture")
        or architecture(tuple(settings["features"]), settings.get("normalised", True))
    )
    network.load_state_dict(state["average"])
    figures = {key: state[key] for key in ("step", "elapsed_s", "settings")}
    return network.eval(), figures


def _score_of(best: Path, step: int) -> float:
    """Score of the best weights so far; 0 where there are none from before `step`."""
    import torch

    try:
        state = torch.load(best, map_location="cpu", weights_only=True)
        # What a killed attempt found after its last checkpoint is found again.
        return float(state["score"]) if state["step"] <= step else 0.0
    except (OSError, RuntimeError, KeyError, EOFError, ValueError, pickle.UnpicklingError):
        return 0.0


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down, so that a weights-only load accepts them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
