"""Training: the loss falls, a killed training goes on as if nothing happened, models export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from particleseg_app.errors import Cancelled, InvalidValueError, ModelError
from particleseg_app.models.model_folder import load_network, open_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import (
    ModelFacts,
    PatchSource,
    Trainer,
    TrainingSettings,
    export_checked,
    fill_pool,
)
from particleseg_app.training.calibration import calibrate
from particleseg_app.training.losses import dice_and_cross_entropy
from particleseg_app.training.network import build_network, folded_network
from particleseg_app.training.scene_pool import CONTACT_BIT, normalise_scan

TINY = TrainingSettings(
    features=(4, 8), steps=6, minutes=None, batches=((2, 16),), replicas=1, warm_up_steps=1,
    learning_rate=1e-2, freeze_at=0.5, checkpoint_every=100, validate_every=100, seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    fill_pool(folder, 50, 2, "touching", (40, 40, 40))
    return folder


def train(folder: Path, pool: Path, settings: TrainingSettings = TINY) -> Trainer:
    trainer = Trainer(folder, settings)
    source = PatchSource(pool, settings.border_thickness, seed=1)
    trainer.run(source, None, Progress(), CancelToken())
    return trainer


def test_loss_falls_on_one_batch(tmp_path: Path, pool: Path) -> None:
    trainer = Trainer(tmp_path, replace(TINY, steps=50))
    grey, target = PatchSource(pool, 2.0, seed=1).batch(0, 2, 16)
    losses = [trainer.learn(grey, target) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("replicas", [1, 2])
def test_resumed_training_ends_like_an_unbroken_one(
    tmp_path: Path, pool: Path, replicas: int
) -> None:
    settings = replace(TINY, replicas=replicas, freeze_at=0.0)
    whole = train(tmp_path / "whole", pool, settings)
    source = PatchSource(pool, 2.0, seed=1)
    broken = Trainer(tmp_path / "broken", settings)
    for _ in range(3):
        broken.learn(*broken.varied(broken.step, *source.batch(broken.step, 2, 16)))
    broken.save()
    resumed = train(tmp_path / "broken", pool, settings)
    assert resumed.step == whole.step == 6
    for name, value in whole.network.state_dict().items():
        assert torch.allclose(value, resumed.network.state_dict()[name], atol=1e-5), name
    for name, value in whole.average.state_dict().items():
        assert torch.allclose(value, resumed.average.state_dict()[name], atol=1e-5), name


def test_cancelled_training_leaves_a_checkpoint(tmp_path: Path, pool: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        Trainer(tmp_path, TINY).run(PatchSource(pool, 2.0, 1), None, Progress(), cancel)
    assert Trainer(tmp_path, TINY).step == 0


def test_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    Trainer(tmp_path, TINY).save()
    with pytest.raises(ModelError):
        Trainer(tmp_path, replace(TINY, features=(4, 8, 8)))


def test_statistics_stay_fixed_after_the_freeze(tmp_path: Path, pool: Path) -> None:
    trainer = Trainer(tmp_path, replace(TINY, freeze_at=0.0, replicas=2))
    before = {k: v.clone() for k, v in trainer.network.state_dict().items() if "running_" in k}
    trainer.learn(*PatchSource(pool, 2.0, 1).batch(0, 2, 16))
    after = trainer.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_average_follows_every_weight_alike(tmp_path: Path, pool: Path) -> None:
    trainer = Trainer(tmp_path, TINY)
    before = [value.clone() for value in trainer.average.parameters()]
    with torch.no_grad():
        for value in trainer.network.parameters():
            value += 1
    trainer._update_average(0.75)
    for old, new in zip(before, trainer.average.parameters(), strict=True):
        assert torch.allclose(new - old, torch.full_like(old, 0.25), atol=1e-5)


def test_folded_network_computes_the_same() -> None:
    torch.manual_seed(0)
    network = build_network((4, 8, 8))
    for _ in range(3):  # gather statistics that are not the initial ones
        network(torch.randn(2, 1, 16, 16, 16) * 2 + 1)
    network.eval()
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(
            network(image), folded_network(network, (4, 8, 8))(image), atol=1e-4, rtol=1e-3
        )


def test_exported_folder_is_a_model(tmp_path: Path, pool: Path) -> None:
    trainer = train(tmp_path / "training", pool)
    folder = tmp_path / "model"
    facts = ModelFacts(patch_shape=(32, 32, 32), scenes=2, limits="A test.")
    export_checked(tmp_path / "training" / "checkpoint_latest.pth", folder, facts)
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert set(checkpoint) == {
        "network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes",
    }  # fmt: skip
    entry = open_model(folder)
    assert entry.card.target_diameter_voxels == 26
    assert entry.card.border_thickness_voxels == 2
    (network,) = load_network(entry)
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        wanted = torch.softmax(trainer.average.eval()(image), 1)
        found = torch.softmax(network(image), 1)
    assert torch.allclose(wanted, found, atol=0.02)  # weights are stored in half precision


def test_class_offsets_shift_the_scores(tmp_path: Path) -> None:
    Trainer(tmp_path / "training", TINY).save()
    checkpoint = tmp_path / "training" / "checkpoint_latest.pth"
    image = torch.randn(1, 1, 32, 32, 32)
    scores = []
    for offset in (0.0, -1.5):
        folder = tmp_path / f"model{offset}"
        facts = ModelFacts(patch_shape=(32, 32, 32), class_offsets=(0.0, offset, 0.0))
        export_checked(checkpoint, folder, facts)
        with torch.inference_mode():
            scores.append(load_network(open_model(folder))[0](image))
    assert torch.allclose(scores[1] - scores[0], torch.tensor([0, -1.5, 0]).view(1, 3, 1, 1, 1),
                          atol=1e-2)  # fmt: skip


def test_calibration_prefers_offsets_that_part_touching_particles() -> None:
    class Fused(torch.nn.Module):
        """Core runs through the contact, but less surely than elsewhere."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            core = torch.full((1, 1, 24, 24, 24), -9.0)
            core[..., 6:18, 6:18, 3:21] = 3.0
            core[..., 6:18, 6:18, 10:14] = 0.5
            border = torch.full((1, 1, 24, 24, 24), -9.0)
            border[..., 4:20, 4:20, 1:23] = 0.0
            return torch.cat([torch.full_like(core, -5.0), core, border], dim=1)

    labels = np.zeros((24, 24, 24), np.uint32)
    labels[4:20, 4:20, 1:12] = 1
    labels[4:20, 4:20, 12:23] = 2
    scene = (np.zeros((24, 24, 24), np.uint16), labels)
    trials = calibrate(Fused(), [scene], [(0.0, 0.0, 0.0), (0.0, -1.0, 0.0)])
    assert trials[0].offsets == (0.0, -1.0, 0.0)
    assert trials[0].f1_match == 1.0
    assert trials[1].merger_ratio == 0.5


def test_export_refuses_what_is_no_training(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        export_checked(tmp_path / "nothing.pth", tmp_path / "model", ModelFacts())


def test_empty_pool_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError):
        PatchSource(tmp_path, 2.0, 1)


def test_batches_depend_on_seed_and_step_only(pool: Path) -> None:
    one, two = PatchSource(pool, 2.0, 4), PatchSource(pool, 2.0, 4)
    two.batch(1, 2, 16)
    for a, b in zip(one.batch(7, 2, 16), two.batch(7, 2, 16), strict=True):
        assert np.array_equal(a, b)


def test_loss_rewards_truth_and_weighs_contacts() -> None:
    target = torch.zeros((1, 8, 8, 8), dtype=torch.uint8)
    target[:, 2:6, 2:6, 2:6] = 2
    target[:, 3:5, 3:5, 3:5] = 1
    right = torch.nn.functional.one_hot(target.long(), 3).permute(0, 4, 1, 2, 3).float() * 12
    assert dice_and_cross_entropy(right, target) < 0.05
    wrong = right.roll(1, dims=1)
    assert dice_and_cross_entropy(wrong, target) > 2
    mistaken = right.clone()
    mistaken[0, :, 2, 2, 2] = mistaken[0, [0, 2, 1], 2, 2, 2]
    marked = target.clone()
    marked[0, 2, 2, 2] |= CONTACT_BIT
    assert dice_and_cross_entropy(mistaken, marked) > dice_and_cross_entropy(mistaken, target)


def test_normalised_scan_has_zero_mean_and_unit_deviation() -> None:
    grey = np.random.default_rng(1).integers(0, 65535, (20, 20, 20)).astype(np.uint16)
    grey[0, 0, 0] = 65535
    result = normalise_scan(grey)
    assert abs(float(result.mean())) < 1e-3
    assert abs(float(result.std()) - 1) < 1e-3
    flat = normalise_scan(np.full((4, 4, 4), 7, np.uint16))
    assert np.array_equal(flat, np.zeros((4, 4, 4), np.float32))
