"""Half precision: scaled gradients change nothing but the range of numbers they fit in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from particleseg_app.training import Trainer, TrainingSettings, precision, replicas

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
    monkeypatch.setattr(replicas, "training_precision", lambda device: None)
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


def test_a_step_whose_gradients_are_no_numbers_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "training_precision", lambda device: None)
    trainer = Trainer(tmp_path, SETTINGS)
    trainer.scaler = torch.GradScaler("cpu", init_scale=1024.0)
    before = [value.clone() for value in trainer.network.parameters()]
    grey, target = batch()
    grey[0, 0, 8, 8, 8] = np.nan
    trainer.learn(grey, target)
    assert trainer.scaler.get_scale() == 512
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
    assert precision.training_precision(torch.device(kind)) is wanted
