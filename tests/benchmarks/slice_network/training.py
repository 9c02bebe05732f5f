"""Training of the 2D network: resumable, planned in minutes of one core."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from particleseg_app.durable_files import part_file, write_json
from particleseg_app.training.calibration import score_scene
from particleseg_app.training.losses import dice_and_cross_entropy
from particleseg_app.training.scene_pool import HIGH_PERCENTILE, LOW_PERCENTILE, normalise_scan
from tests.benchmarks.slice_network.network import build_slice_network, slice_logits
from tests.benchmarks.slice_network.slices import SliceSource, held_back

TARGET_DIAMETER = 26.0  # of the scenes
BORDER_THICKNESS = 2.0
TILE_SHAPE = (16, 256, 256)  # flat and wide: mostly whole slices at once
CHECKPOINT = "checkpoint_latest.pth"
SLABS, SLICES = 4, 4
LEARNING_RATE = 2e-3
WARM_UP_STEPS = 60
FREEZE_AT = 0.35
AVERAGE_DECAY = 0.995
SCENES_FOR_OFFSETS = 6


@dataclass
class SliceTraining:
    """The network on its way. `minutes` count the processor time of this process, not the clock."""

    folder: Path
    minutes: float
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(1)
        self.network = build_slice_network(deep_supervision=True)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = build_slice_network()
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), LEARNING_RATE, weight_decay=1e-3
        )
        self.step, self.spent_s = 0, 0.0
        path = self.folder / CHECKPOINT
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            for name in ("network", "average", "optimiser"):
                getattr(self, name).load_state_dict(state[name])
            self.step, self.spent_s = state["step"], state["spent_s"]
            self.say(f"Going on after step {self.step}.")

    @property
    def done(self) -> float:
        """Share of the planned time that is spent, 0 to 1."""
        return min(1.0, self.spent_s / 60 / self.minutes)

    def run(self, source: SliceSource) -> None:
        """Train until the time is spent; a checkpoint is written every 50 steps and at the end."""
        losses: list[float] = []
        with ThreadPoolExecutor(1, thread_name_prefix="slices") as ahead:
            upcoming = ahead.submit(source.batch, self.step, SLABS, SLICES)
            while self.done < 1:
                began = time.process_time()
                grey, target = upcoming.result()
                upcoming = ahead.submit(source.batch, self.step + 1, SLABS, SLICES)
                losses.append(self._step(torch.from_numpy(grey), torch.from_numpy(target)))
                self.spent_s += time.process_time() - began
                if self.step % 50 == 0:
                    self.save()
                    self.say(
                        f"step {self.step}  loss {np.mean(losses):.4f}  scenes "
                        f"{source.scene_count}  core minutes {self.spent_s / 60:.1f}"
                    )
                    losses = []
        self.save()

    def _step(self, grey: torch.Tensor, target: torch.Tensor) -> float:
        self.network.train()
        if self.done >= FREEZE_AT:
            for layer in self.network.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.eval()
        warm = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        cosine = 0.5 + 0.5 * math.cos(math.pi * self.done)
        for group in self.optimiser.param_groups:
            group["lr"] = LEARNING_RATE * warm * max(0.005, cosine)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.network(grey.contiguous(memory_format=torch.channels_last))
        loss = torch.zeros(())
        for level, logits in enumerate(outputs[:3]):
            coarse = target[:, :: 2**level, :: 2**level]
            loss = loss + 0.5**level / 1.75 * dice_and_cross_entropy(logits, coarse)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 3.0)
        self.optimiser.step()
        self.step += 1
        decay = min(AVERAGE_DECAY, 1 - 1 / (0.2 * self.step + 1))
        with torch.no_grad():
            for kept, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
            for kept, now in zip(self.average.buffers(), self.network.buffers(), strict=True):
                kept.copy_(now)
        return float(loss.detach())

    def save(self) -> None:
        """Write everything needed to go on."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
        }
        with part_file(self.folder / CHECKPOINT) as part:
            torch.save(state, part)


def best_offsets(
    network: torch.nn.Module, scenes: Path, say: Callable[[str], None] = print
) -> tuple[tuple[float, float, float], float]:
    """Offsets (background, core, border) with the best mean F1_match on scenes held back.

    The default model's offsets are chosen in the same way (`training.calibration`).
    """
    candidates = [
        (background, core, 0.0)
        for background, core in itertools.product((0.0, 0.4, 0.8), (0.0, -0.7, -1.4))
    ]
    sums = np.zeros(len(candidates))
    paths = sorted(path for path in scenes.glob("*.npz") if held_back(path))[:SCENES_FOR_OFFSETS]
    for path in paths:
        with np.load(path, allow_pickle=False) as data:
            grey, labels = data["grey"], data["labels"].astype(np.uint32)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            volume = torch.from_numpy(normalise_scan(grey).astype(np.float32))
            logits = slice_logits(network.eval(), volume).numpy()
        for index, offsets in enumerate(candidates):
            sums[index] += score_scene(logits, labels, offsets).f1_match
    if not paths:
        return (0.0, 0.0, 0.0), math.nan
    best = int(np.argmax(sums))
    say(
        f"offsets {candidates[best]}: F1_match {sums[best] / len(paths):.3f} on {len(paths)} scenes"
    )
    return candidates[best], float(sums[best] / len(paths))


def write_model(
    training: SliceTraining, scenes: int, offsets: tuple[float, float, float], folder: Path
) -> None:
    """The trained network as a folder that a run accepts; the card comes last."""
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    labels = {"background": 0, "core": 1, "border": 2}
    write_json(folder / "dataset.json", {"labels": labels, "channel_names": {"0": "CT"}})
    write_json(folder / "plans.json", {"note": "A 2D network; see tests/benchmarks/slice_network."})
    content = {
        "network_weights": training.average.state_dict(),
        "class_offsets": list(offsets),
    }
    with part_file(folder / "fold_0" / "checkpoint_final.pth") as part:
        torch.save(content, part)
    facts: dict[str, Any] = {
        "name": "slice_network",
        "title": "Slice-wise 2D U-Net",
        "version": f"{training.step} steps",
        "target_diameter_voxels": TARGET_DIAMETER,
        "border_thickness_voxels": BORDER_THICKNESS,
        "patch_shape": list(TILE_SHAPE),
        "normalisation": {
            "scheme": "scan_clipped",
            "low_percentile": LOW_PERCENTILE,
            "high_percentile": HIGH_PERCENTILE,
        },
        "training": {
            "steps": training.step,
            "scenes": scenes,
            "core_minutes": round(training.spent_s / 60, 1),
            "class_offsets": list(offsets),
        },
    }
    write_json(folder / "model_card.json", facts)
