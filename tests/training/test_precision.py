"""Half precision: scaled gradients change nothing but the range of numbers they fit in."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from particleseg_app.errors import RunError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import Trainer, TrainingSettings, precision, replicas
from particleseg_app.training.network import architecture, build_network, coarsest_edge, network_of
from particleseg_app.training.patches import PatchSource
from particleseg_app.training.scene_pool import fill_pool

SETTINGS = TrainingSettings(
    features=(4, 8), steps=4, minutes=None, replicas=1, warm_up_steps=1, batches=((1, 16),)
)


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    grey = rng.normal(size=(1, 1, 16, 16, 16)).astype(np.float32)
    return grey, (grey[:, 0] > 0).astype(np.uint8)


def test_scaled_gradients_lead_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "training_precision", lambda *_: None)
    networks = []
    for name in ("plain", "scaled"):
        trainer = Trainer(tmp_path / name, SETTINGS)
        trainer.scaler = torch.GradScaler("cpu", init_scale=1024.0, enabled=name == "scaled")
        for _ in range(3):
            trainer.learn(*batch())
        trainer.save()
        networks.append(trainer.network.state_dict())
    for key, value in networks[0].items():
        assert torch.allclose(value, networks[1][key], atol=1e-5), key
    state = torch.load(tmp_path / "scaled" / "checkpoint_latest.pth", weights_only=True)
    assert state["scaler"]["scale"] == 1024.0


@pytest.mark.parametrize("scale", [None, 1024.0], ids=["own", "float16"])
def test_a_step_whose_gradients_are_no_numbers_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float | None
) -> None:
    monkeypatch.setattr(replicas, "training_precision", lambda *_: None)
    trainer = Trainer(tmp_path, SETTINGS)
    trainer.scaler = torch.GradScaler("cpu", init_scale=scale) if scale else trainer.scaler
    scale = trainer.scaler.get_scale()
    before = [value.clone() for value in trainer.network.parameters()]
    grey, target = batch()
    grey[0, 0, 8, 8, 8] = np.nan
    trainer.learn(grey, target)
    assert trainer.scaler.get_scale() == scale / 2
    for old, new in zip(before, trainer.network.parameters(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize(
    ("kind", "able", "wanted"),
    [
        ("cuda", True, torch.bfloat16),
        ("cuda", False, torch.float16),
        ("cpu", True, torch.bfloat16),
        ("cpu", False, None),
    ],
)
def test_precision_goes_by_what_the_hardware_computes_in(
    monkeypatch: pytest.MonkeyPatch, kind: str, able: bool, wanted: torch.dtype | None
) -> None:
    # A card that does not compute in bfloat16 itself can imitate it.
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: able or including_emulation,
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    assert precision.training_precision(torch.device(kind), 3) is wanted
    narrow = precision.training_precision(torch.device(kind), 2)
    assert narrow is (None if kind == "cpu" else wanted)


@pytest.mark.parametrize(("edge", "coarsest"), [(64, 4), (32, 2), (48, 3)])
def test_the_coarsest_grid_of_the_default_network(edge: int, coarsest: int) -> None:
    network = build_network((4, 4, 4, 4, 4))
    assert coarsest_edge(network, edge) == coarsest
    flat = architecture((4, 4, 4), normalised=True)
    flat["arch_kwargs"]["strides"] = [[1, 1, 1], [1, 2, 2], [1, 2, 2]]
    assert coarsest_edge(network_of(flat), edge) == edge // 4


NEW_MEMORY_IS_NO_NUMBERS = """
import ctypes
ctypes.CDLL(None).mallopt(-6, 256)  # M_PERTURB: every byte of new memory is 0xff
import torch
if torch.isfinite(torch.empty(64)).any():
    raise SystemExit("new memory cannot be filled here")
torch.cpu._is_avx512_bf16_supported = lambda: True  # imitated where the processor has it not
from particleseg_app.training.network import build_network
from particleseg_app.training.replicas import Replicas
torch.manual_seed(0)
for edge in (8, 12, 16):  # voxels on the coarsest grid: 2, 3, 4
    network = build_network((4, 8, 16), deep_supervision=True)
    network.to(memory_format=torch.channels_last_3d)
    grey = torch.randn(2, 1, edge, edge, edge)
    target = (grey[:, 0] > 0).to(torch.uint8)
    loss = Replicas(network, 2).gradients(grey, target, torch.GradScaler("cpu", enabled=False))
    wrong = [
        name
        for name, value in network.named_parameters()
        if value.grad is not None and not torch.isfinite(value.grad).all()
    ]
    print(edge, float(loss), wrong)
    assert torch.isfinite(loss) and not wrong
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the C library of Linux")
@pytest.mark.parametrize("newest", ["AVX512_CORE_BF16", "ALL"])
def test_gradients_take_in_no_memory_that_nobody_has_written(newest: str) -> None:
    # With two voxels on the coarsest grid they did, in bfloat16, and were no numbers now and then.
    run = subprocess.run(
        [sys.executable, "-c", NEW_MEMORY_IS_NO_NUMBERS],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": newest},
        capture_output=True,
        text=True,
    )
    if "cannot be filled" in run.stderr:
        pytest.skip("this C library does not fill new memory")
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_training_that_went_astray_ends_in_words_and_keeps_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_pool(tmp_path / "pool", 60, 1, "touching", (40, 40, 40))
    settings = replace(SETTINGS, steps=40, checkpoint_every=10)
    trainer = Trainer(tmp_path / "work", settings)
    learn = trainer.learn

    def astray(grey: object, target: object) -> torch.Tensor:
        loss = learn(grey, target)
        return loss * (torch.nan if trainer.step > 12 else 1)

    monkeypatch.setattr(trainer, "learn", astray)
    with pytest.raises(RunError, match="astray before step 25"):
        trainer.run(PatchSource(tmp_path / "pool", 2.0, 1), None, Progress(), CancelToken())
    assert Trainer(tmp_path / "work", settings).step == 10
