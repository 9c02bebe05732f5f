"""nnU-Net v2's own trainer with the settings of the paper (000 §4.2), fed by our patch sources.

From nnU-Net come the network from its plans, SGD with Nesterov momentum 0.99 and weight decay 3e-5,
the polynomial learning rate from 1e-2 over 1000 epochs of 250 iterations, Dice and cross-entropy
with deep supervision, gradient clipping, and half precision with scaled gradients on a graphics
card. Batches come from labelled patches and simulated scans instead of a preprocessed data set, and
the training stops and goes on at any step.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import (
    DownsampleSegForDSTransform,
)
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from particleseg_app.durable_files import part_file
from particleseg_app.errors import ModelError
from particleseg_app.training.augmentation import Augmentation, vary_patches_as_published
from particleseg_app.training.export import CLASSES, TrainedNetwork, plans
from particleseg_app.training.network import network_of
from particleseg_app.training.patches import HeldBackPatches
from particleseg_app.training.recipes import EPOCHS, ITERATIONS
from particleseg_app.training.training_log import TrainingLog
from particleseg_app.training.training_loop import CHECKPOINT, TrainingLoop, Volumes

CONFIGURATION = "3d_fullres"
FINE_TUNING_RATE = 1e-3  # a tenth of the usual


class ParticleTrainer(TrainingLoop, nnUNetTrainer):
    """nnU-Net's trainer on border-core patches; made by `ParticleTrainer.begin`."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device,
    ) -> None:
        """As nnU-Net makes its trainers; says nothing on the terminal."""
        with contextlib.redirect_stdout(io.StringIO()):
            nnUNetTrainer.__init__(
                self, {"continue_training": False, **plans}, configuration, fold, dataset_json,
                device,
            )  # fmt: skip
        self.device = device  # nnU-Net always takes the first card

    @classmethod
    def begin(
        cls,
        folder: Path,
        network: dict[str, Any],
        border_thickness: float,
        batch: int,
        edge: int,
        steps: int = EPOCHS * ITERATIONS,
        device: str = "cuda",
        seed: int = 1,
        initial: dict[str, torch.Tensor] | None = None,
        augmentation: Augmentation | None = vary_patches_as_published,
    ) -> ParticleTrainer:
        """Go on with the training in `folder`, or begin one there from the weights `initial`.

        `network`: an `architecture` entry; patches of `edge`³ voxels, which `augmentation` changes
        before they are learnt. Raises `ModelError` for a checkpoint of another network.
        """
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        trainer = cls.__new__(cls)
        trainer.folder = folder
        trainer.log = TrainingLog(folder)
        dataset = {"channel_names": {"0": "CT"}, "labels": CLASSES, "file_ending": ".tif"}
        plan = plans(network, (edge, edge, edge), batch)
        trainer.__init__(plan, CONFIGURATION, 0, dataset, torch.device(device))  # type: ignore[misc]
        trainer.architecture = network
        trainer.border_thickness = border_thickness
        trainer.planned_steps = steps
        trainer.augmentation, trainer.seed = augmentation, seed
        trainer.num_iterations_per_epoch = min(ITERATIONS, steps)
        trainer.num_epochs = math.ceil(steps / trainer.num_iterations_per_epoch)
        trainer.initial_lr = 1e-2 if initial is None else FINE_TUNING_RATE
        trainer.batches = ((batch, edge),)
        trainer.log_every = trainer.num_iterations_per_epoch
        trainer.checkpoint_every = trainer.num_iterations_per_epoch
        trainer.validate_every = trainer.num_iterations_per_epoch
        # Its weight for the coarsest output is 0: with two stages nothing would be left.
        trainer.enable_deep_supervision = network["arch_kwargs"]["n_stages"] > 2
        trainer.initialize()
        if initial is not None:
            trainer.network.load_state_dict(initial)
        if (folder / CHECKPOINT).exists():
            trainer.load_checkpoint(folder / CHECKPOINT)
            trainer.log = TrainingLog(folder, trainer.step)
        return trainer

    # nnU-Net derives its folder from environment variables; ours is given.
    @property
    def output_folder(self) -> str:
        return str(self.folder)

    @output_folder.setter
    def output_folder(self, value: str | None) -> None:
        pass

    def initialize(self) -> None:
        """Network, optimiser and loss, as nnU-Net builds them, without a data set on disk."""
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        self._set_batch_size_and_oversample()
        self.num_input_channels = 1
        self.network = self.build_network_architecture(
            self.plans_manager,
            self.configuration_manager,
            self.num_input_channels,
            self.label_manager.num_segmentation_heads,
            self.enable_deep_supervision,
        ).to(self.device)
        if self._do_i_compile():
            self.network = torch.compile(self.network)
        self.optimizer, self.lr_scheduler = self.configure_optimizers()
        self.loss = self._build_loss()
        scales = self._get_deep_supervision_scales()
        self._coarser = None if scales is None else DownsampleSegForDSTransform(scales)
        self.was_initialized = True

    def _do_i_compile(self) -> bool:
        """Only where asked for (nnUNet_compile): compiling needs tools that few computers have."""
        return "nnUNet_compile" in os.environ and bool(super()._do_i_compile())

    def print_to_log_file(self, *args: Any, **_: Any) -> None:
        for text in " ".join(str(arg) for arg in args).splitlines():
            if text.strip("# "):
                self.log.line(text.strip())

    def run_training(self, *args: Any) -> None:
        """The same as `run`, which takes what to train on."""
        self.run(*args)

    def learn(self, grey: Volumes, target: Volumes) -> float:
        self.network.train()
        self.current_epoch = self.step // self.num_iterations_per_epoch
        self.lr_scheduler.step(self.current_epoch)
        loss = float(self.train_step(self._batch(grey, target))["loss"])
        self.step += 1
        return loss

    def measure(self, validation: HeldBackPatches) -> float:
        """nnU-Net's pseudo Dice: mean over core and border, all patches taken together."""
        size, edge = self.batches[0]
        overlap = np.zeros((3, len(CLASSES) - 1))
        losses = []
        self.network.eval()
        for number in range(self.num_val_iterations_per_epoch):
            patches = [
                validation.plain_patch(index, edge)
                for index in range(number * size, (number + 1) * size)
            ]
            grey = np.concatenate([patch for patch, _ in patches])
            with torch.no_grad():
                found = self.validation_step(
                    self._batch(grey, np.stack([target for _, target in patches]))
                )
            losses.append(float(found["loss"]))
            overlap += np.stack([found["tp_hard"], found["fp_hard"], found["fn_hard"]])
        hit, extra, missed = overlap
        core, border = 2 * hit / np.maximum(1, 2 * hit + extra + missed)
        self.log.line(
            f"validation  loss {np.mean(losses):.4f}  core dice {core:.4f}  "
            f"border dice {border:.4f}"
        )
        return float((core + border) / 2)

    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _batch(self, grey: Volumes, target: Volumes) -> dict[str, Any]:
        data, encoded = self.on_device(grey, target)
        classes = (encoded & 3).to(torch.int16)
        if self._coarser is None:
            return {"data": data, "target": classes[:, None]}
        # It takes (channels, z, y, x); here the batch stands in the first place.
        levels = self._coarser._apply_to_segmentation(classes)
        return {"data": data, "target": [level[:, None] for level in levels]}

    def _plain_network(self) -> torch.nn.Module:
        return getattr(self.network, "_orig_mod", self.network)

    def save(self) -> None:
        self.save_checkpoint(self.folder / CHECKPOINT)
        self.log.write()

    def save_checkpoint(self, filename: str | Path) -> None:
        """A checkpoint that loads weights-only and appears whole."""
        state = {
            "network_weights": self._plain_network().state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": None
            if self.grad_scaler is None
            else self.grad_scaler.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "architecture": self.architecture,
            "border_thickness": self.border_thickness,
            "source": None if self.source is None else self.source.state(self.step),
            "trainer_name": type(self).__name__,
        }
        with part_file(Path(filename)) as part:
            torch.save(state, part)

    def load_checkpoint(self, filename_or_checkpoint: str | Path) -> None:
        """Go on from a checkpoint; raises `ModelError` when it is of another training."""
        path = Path(filename_or_checkpoint)
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self._plain_network().load_state_dict(state["network_weights"])
            self.optimizer.load_state_dict(state["optimizer_state"])
            if self.grad_scaler is not None and state["grad_scaler_state"] is not None:
                self.grad_scaler.load_state_dict(state["grad_scaler_state"])
            self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])
            self.source_state = state["source"]
        except (RuntimeError, KeyError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise ModelError(
                f"The training in {path.parent} does not fit these settings.",
                "Choose another folder, or the settings it was begun with.",
            ) from error

    def trained_network(self) -> TrainedNetwork:
        """The network as it is now; nnU-Net ships the last weights, not the best ones."""
        network = network_of(self.architecture)
        network.load_state_dict(self._plain_network().state_dict())
        training = {"steps": self.step, "minutes": round(self.elapsed_s / 60, 1)}
        return TrainedNetwork(network.eval(), self.architecture, self.border_thickness, training)
