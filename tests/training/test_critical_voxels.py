"""Bridges between cores, necks of cores, and what mistakes there weigh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import PatchSource, Trainer, TrainingSettings, fill_pool
from particleseg_app.training.critical_voxels import bridge_voxels, neck_voxels
from particleseg_app.training.hard_places import HardPlaces, wrong_cells
from particleseg_app.training.losses import critical_mistakes, dice_and_cross_entropy
from particleseg_app.training.replicas import Replicas
from particleseg_app.training.scene_pool import BRIDGE_BIT, NECK_BIT, encoded_target


def two_boxes() -> np.ndarray:
    labels = np.zeros((24, 24, 40), np.uint32)
    labels[4:20, 4:20, 4:20] = 1
    labels[4:20, 4:20, 20:36] = 2
    return labels


def dumbbell(width: int) -> np.ndarray:
    """Two blocks of 16 voxels joined by a bar of `width` and 12 long, as one particle."""
    labels = np.zeros((24, 24, 52), np.uint32)
    labels[4:20, 4:20, 4:20] = labels[4:20, 4:20, 32:48] = 1
    low = 12 - width // 2
    labels[low : low + width, low : low + width, 20:32] = 1
    return labels


def core_of(labels: np.ndarray) -> np.ndarray:
    return encoded_target(labels, 2.0) & 3 == 1


def test_bridges_fill_the_gap_between_two_cores_and_nothing_else() -> None:
    labels = two_boxes()
    bridges = bridge_voxels(labels, core_of(labels), 2.0)
    assert bridges[8:16, 8:16, 19:21].all()
    assert not bridges[:, :, :16].any() and not bridges[:, :, 24:].any()
    assert not (bridges & core_of(labels)).any()
    one = np.where(labels > 0, 1, 0).astype(np.uint32)
    assert not bridge_voxels(one, core_of(one), 2.0).any()
    nothing = np.zeros((8, 8, 8), np.uint32)
    assert not bridge_voxels(nothing, nothing > 0, 2.0).any()


@pytest.mark.parametrize("width", [6, 8])
def test_a_neck_is_found_and_cutting_it_there_parts_the_core(width: int) -> None:
    from scipy import ndimage

    labels = dumbbell(width)
    core = core_of(labels)
    assert ndimage.label(core)[1] == 1
    necks = neck_voxels(labels, core)
    assert necks.any() and (core | ~necks).all()
    assert ndimage.label(core & ~necks)[1] == 2
    assert not necks[:, :, :18].any() and not necks[:, :, 34:].any()


def test_thick_cores_have_no_necks_and_thin_ones_are_nothing_else() -> None:
    labels = two_boxes()
    assert not neck_voxels(labels, core_of(labels)).any()
    thick = dumbbell(14)
    assert not neck_voxels(thick, core_of(thick)).any()
    needle = np.zeros((20, 20, 40), np.uint32)
    needle[8:14, 8:14, 4:36] = 1
    assert np.array_equal(neck_voxels(needle, core_of(needle)), core_of(needle))
    nothing = np.zeros((8, 8, 8), np.uint32)
    assert not neck_voxels(nothing, nothing > 0).any()


def test_necks_of_neighbours_are_their_own() -> None:
    # Two dumbbells side by side: the parts of one must not count to the other.
    one = dumbbell(6)
    both = np.concatenate([one, np.where(one > 0, 2, 0).astype(np.uint32)])
    core = core_of(both)
    necks = neck_voxels(both, core)
    assert np.array_equal(necks[:24], neck_voxels(one, core_of(one)))
    assert np.array_equal(necks[24:], necks[:24])


def scores(classes: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes.long(), 3).permute(0, 4, 1, 2, 3).float() * 4


def test_mistakes_that_join_or_cut_weigh_more() -> None:
    target = torch.from_numpy(encoded_target(dumbbell(6), 2.0, critical=True))[None]
    right = target & 3
    assert not critical_mistakes(scores(right), target).any()
    cut = torch.where(target & NECK_BIT > 0, 2, right)
    thin = right.clone()
    thin[0, 8, 8, 6:8] = 2  # at the middle of the surface of a thick core
    for wrong, weighs in ((cut, True), (thin, False)):
        assert not torch.equal(wrong, right)
        plain = float(dice_and_cross_entropy(scores(wrong), target))
        heavy = float(dice_and_cross_entropy(scores(wrong), target, 5.0))
        assert (heavy > plain + 1e-3) is weighs

    touching = torch.from_numpy(encoded_target(two_boxes(), 2.0, critical=True))[None]
    joined = torch.where(touching & BRIDGE_BIT > 0, 1, touching & 3)
    plain = float(dice_and_cross_entropy(scores(joined), touching))
    assert float(dice_and_cross_entropy(scores(joined), touching, 5.0)) > plain + 1e-3


def test_a_weight_of_one_is_the_loss_without_it() -> None:
    target = torch.from_numpy(encoded_target(dumbbell(6), 2.0, critical=True))[None]
    plain = target & ~(BRIDGE_BIT | NECK_BIT)
    logits = torch.randn((1, 3, *target.shape[1:]), generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        dice_and_cross_entropy(logits, target), dice_and_cross_entropy(logits, plain)
    )


def test_wrong_cells_count_core_where_it_matters() -> None:
    target = torch.zeros((2, 32, 32, 32), dtype=torch.uint8)
    target[1, :16, :16, 16:] = 2 | BRIDGE_BIT
    target[1, 16:] = 2  # no bridge: wrong there, but joins nothing
    found = torch.ones_like(target)
    cells = wrong_cells(scores(found), target)
    wanted = torch.zeros((2, 2, 2, 2))
    wanted[1, 0, 0, 1] = 1
    assert torch.equal(cells, wanted)
    assert not wrong_cells(scores(target & 3), target).any()


def test_a_new_scene_is_taken_for_as_hard_as_the_others() -> None:
    places = HardPlaces(3, 40)
    places.new_scene(0)
    places.look(0, np.array([0, 0, 0]), np.full((3, 3, 3), 0.8, np.float32))
    places.new_scene(1)
    assert places.map[0] == pytest.approx(0.4) and places.map[1] == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    drawn = [places.draw(rng, np.array([0, 1])) for _ in range(200)]
    assert 60 < sum(slot for slot, _ in drawn) < 140
    assert all(((voxel >= 0) & (voxel < 48)).all() for _, voxel in drawn)


def test_replicas_see_every_patch_in_its_place() -> None:
    class Echo(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            return [self.weight * image.expand(-1, 3, -1, -1, -1)]

    replicas = Replicas(Echo(), 2, observe=lambda logits, target: logits[:, 0, 0, 0, 0].float())
    grey = torch.arange(5.0).reshape(5, 1, 1, 1, 1).expand(5, 1, 4, 4, 4)
    target = torch.zeros((5, 4, 4, 4), dtype=torch.uint8)
    replicas.gradients(grey, target, torch.GradScaler("cpu", enabled=False))
    assert replicas.seen is not None and replicas.seen.tolist() == [0, 1, 2, 3, 4]


def test_a_training_tells_what_it_got_wrong(tmp_path: Path) -> None:
    settings = TrainingSettings(
        features=(4, 8), steps=3, minutes=None, batches=((2, 32),), replicas=2, warm_up_steps=1,
        critical_weight=4.0,
    )  # fmt: skip
    fill_pool(tmp_path / "pool", 50, 1, "touching", (40, 40, 40))
    told: list[tuple[int, torch.Tensor]] = []
    trainer = Trainer(
        tmp_path / "work", settings, learned=lambda step, cells: told.append((step, cells))
    )
    trainer.run(PatchSource(tmp_path / "pool", 2.0, 1), None, Progress(), CancelToken())
    assert [step for step, _ in told] == [0, 1, 2]
    assert all(cells.shape == (2, 2, 2, 2) for _, cells in told)
    line = (tmp_path / "work" / "log.txt").read_text(encoding="utf-8").splitlines()[-1]
    assert "data " in line and "training " in line and line.endswith(" ms")
