"""What is held back from a training, and how the network is measured and calibrated on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from particleseg_app.models import open_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import held_back
from particleseg_app.training.held_back import measure_held_back, tiled_logits
from particleseg_app.training.training_task import split_names

from .lab_patch_files import tiny_plan, train, write_patch

CPU = torch.device("cpu")


class Fused(torch.nn.Module):
    """Reads the classes off the grey values: 1 core, 2 border, 3 core that should be border."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        core = torch.where(image == 1, 4.0, torch.where(image == 3, 0.3, -9.0))
        border = torch.where(image == 2, 4.0, torch.where(image == 3, 0.0, -9.0))
        return torch.cat([torch.where(image == 0, 4.0, -9.0), core, border], dim=1)


def touching_pairs(pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of blocks whose cores run into each other, less surely than elsewhere."""
    grey = np.zeros((24, 16, 16 * pairs), np.float32)
    labels = np.zeros(grey.shape, np.uint32)
    for pair in range(pairs):
        here = (slice(2, 22), slice(2, 14), slice(16 * pair + 2, 16 * pair + 14))
        grey[here] = 2
        grey[5:19, 5:11, 16 * pair + 5 : 16 * pair + 11] = 1
        grey[11:13, 5:11, 16 * pair + 5 : 16 * pair + 11] = 3
        labels[here] = 2 * pair + 1
        labels[12:22, 2:14, 16 * pair + 2 : 16 * pair + 14] = 2 * pair + 2
    return grey, labels


def measure(volumes: list[tuple[np.ndarray, np.ndarray]]) -> held_back.HeldBackFigures:
    return measure_held_back(
        Fused(), iter(volumes), len(volumes), (32, 32, 32), CPU, (0.0, 0.0, 0.0),
        Progress(), CancelToken(),
    )  # fmt: skip


def test_enough_particles_calibrate_the_class_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_back, "ENOUGH_PARTICLES", 12)
    found = measure([touching_pairs(3), touching_pairs(3)])
    assert found.calibrated
    assert found.particles == 12
    assert found.class_offsets == (0.0, -0.5, 0.0)  # the smallest step that parts them
    # Each volume was measured with what the other one chose.
    assert found.figures["f1_match"] == 1.0
    assert found.figures["merger_ratio"] == 0.0


def test_few_particles_are_measured_as_the_network_is() -> None:
    found = measure([touching_pairs(3), touching_pairs(3)])
    assert not found.calibrated
    assert found.class_offsets == (0.0, 0.0, 0.0)
    assert found.figures["merger_ratio"] == 0.5
    assert found.as_dict()["volumes"] == 2


@given(st.integers(0, 40), st.floats(0, 1), st.integers(0, 100))
def test_patches_are_split_without_loss(count: int, share: float, seed: int) -> None:
    names = [f"patch{n}" for n in range(count)]
    training, kept = split_names(names, share, seed)
    assert sorted(training + kept) == sorted(names)
    assert split_names(names, share, seed) == (training, kept)
    if count < 3 or share == 0:
        assert not kept
    else:
        assert kept
        assert training


def test_tiles_give_the_scores_of_the_whole_volume() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 3, 3, padding=1, padding_mode="replicate").eval()
    grey = np.random.default_rng(0).normal(size=(40, 33, 20)).astype(np.float32)
    tiled = tiled_logits(network, grey, (32, 32, 32), CPU, CancelToken())
    assert tiled.shape == (3, 40, 33, 20)
    with torch.inference_mode():
        whole = network(torch.from_numpy(grey)[None, None])[0].numpy()
    agree = (tiled.argmax(0) == whole.argmax(0)).mean()
    assert agree > 0.97  # apart from the rims of tiles and half precision


@pytest.fixture
def five_patches(tmp_path: Path) -> Path:
    for number in range(5):
        write_patch(tmp_path / "patches", f"patch{number}", seed=number)
    return tmp_path / "patches"


def test_the_card_carries_what_was_measured_on_held_back_patches(
    tmp_path: Path, five_patches: Path
) -> None:
    plan = tiny_plan(five_patches, steps=3, simulated=1, preset="spaced", scene_shape=(32, 32, 32))
    model = train(plan, tmp_path)
    card = json.loads((model / "model_card.json").read_text(encoding="utf-8"))
    assert card["limits"] == ""
    figures = card["figures"]
    _, (kept,) = split_names([f"patch{n}" for n in range(5)], 0.2, plan.seed)
    assert f"labelled patch {kept} and 1 simulated scan;" in figures["scenes"]
    assert figures["volumes"] == 2
    assert figures["particles"] >= 4
    for name in held_back.FIGURES:
        assert 0 <= figures[name] <= 1
    assert "4 labelled patches" in card["made_from"]
    work = tmp_path / "work"
    assert "validation  foreground dice" in (work / "log.txt").read_text(encoding="utf-8")
    last = (work / "loss.csv").read_text(encoding="utf-8").splitlines()[-1].split(",")
    assert last[0] == "3"
    assert 0 <= float(last[3]) <= 1
    assert (work / "checkpoint_best.pth").exists()


def test_nothing_held_back_is_nothing_measured(tmp_path: Path, five_patches: Path) -> None:
    model = train(tiny_plan(five_patches, steps=1, held_back=0.0), tmp_path)
    card = open_model(model).card
    assert card.figures == {}
    assert card.limits.startswith("Not measured")
    assert "5 labelled patches" in card.made_from


def test_the_best_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from particleseg_app.training import Trainer, TrainingSettings

    class Source:
        scene_count = 1
        prefetched = True

        def batch(self, step: int, size: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
            rng = np.random.default_rng(step)
            return rng.normal(size=(1, 1, 16, 16, 16)).astype(np.float32), np.zeros(
                (1, 16, 16, 16), np.uint8
            )

        def plain_patch(self, index: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
            return self.batch(0, 1, 16)[0], np.zeros((16, 16, 16), np.uint8)

        def state(self, step: int) -> list[object]:
            return []

        def restore(self, state: list[object]) -> None:
            pass

    settings = TrainingSettings(
        features=(4, 8), steps=4, minutes=None, replicas=1, validate_every=1, seed=3,
        validation_patches=1, validation_edge=16, batches=((1, 16),),
    )  # fmt: skip
    scores: Iterator[float] = iter([0.3, 0.8, 0.5, 0.7])

    def pretended(self: Trainer, source: object) -> dict[str, float]:
        score = next(scores)
        return {"foreground dice": score, "core dice": score}

    monkeypatch.setattr(Trainer, "validate", pretended)
    trainer = Trainer(tmp_path, settings)
    trainer.run(Source(), Source(), Progress(), CancelToken())
    best = torch.load(tmp_path / "checkpoint_best.pth", weights_only=True)
    assert (best["step"], best["score"]) == (2, 0.8)
    assert Trainer(tmp_path, settings).best_score == 0.8
