"""A pool of scenes that grows while it is trained on: the same steps see the same patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from particleseg_app.training import PatchSource
from particleseg_app.training.patches import BatchSource, MixedSource
from particleseg_app.training.prefetching import Prefetcher

STEPS = 80


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    for number in range(24):
        write_scene(folder, number)
    return folder


def write_scene(folder: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    labels = np.zeros((20, 20, 20), np.uint16)
    labels[3:10, 3:17, 3:17] = 1
    labels[10:17, 3:17, 3:17] = 2
    grey = (1000 * (labels > 0) + rng.integers(0, 500, labels.shape)).astype(np.uint16)
    np.savez(folder / f"scene_{number:03d}.npz", grey=grey, labels=labels)


def drawn(source: BatchSource, first: int, last: int) -> list[np.ndarray]:
    return [source.batch(step, 1, 16)[0] for step in range(first, last)]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("stopped", [0, 1, 25, 26, 50, 63])
def test_a_restored_source_goes_on_with_the_same_patches(pool: Path, stopped: int) -> None:
    unbroken = PatchSource(pool, 2.0, 3)
    wanted = drawn(unbroken, 0, STEPS)
    assert unbroken.scene_count == 24  # ten at first, six at each look
    broken = PatchSource(pool, 2.0, 3)
    drawn(broken, 0, min(STEPS, stopped + 2))  # some batches were prepared ahead
    resumed = PatchSource(pool, 2.0, 3)
    resumed.restore(broken.state(stopped))
    assert same(drawn(resumed, stopped, STEPS), wanted[stopped:])


def test_scenes_that_appeared_later_do_not_change_the_past(tmp_path: Path) -> None:
    for number in range(4):
        write_scene(tmp_path, number)
    source = PatchSource(tmp_path, 2.0, 3)
    wanted = drawn(source, 0, 25)
    state = source.state(25)
    for number in range(4, 9):
        write_scene(tmp_path, number)
    resumed = PatchSource(tmp_path, 2.0, 3)
    resumed.restore(state)
    assert resumed.scene_count == 4
    assert same(drawn(resumed, 1, 25), wanted[1:])
    resumed.batch(25, 1, 16)
    assert resumed.scene_count == 9


def test_several_threads_prepare_what_one_would(pool: Path) -> None:
    wanted = drawn(PatchSource(pool, 2.0, 3), 0, STEPS)
    batches = Prefetcher(PatchSource(pool, 2.0, 3), ((1, 16),), ahead=4)
    found = [batches.get(step)[0] for step in range(STEPS)]
    batches.close()
    assert same(found, wanted)


def test_a_mixture_restores_both_of_its_sources(pool: Path) -> None:
    def mixture() -> MixedSource:
        return MixedSource(PatchSource(pool, 2.0, 3), PatchSource(pool, 2.0, 4), 0.5, 3)

    wanted = drawn(mixture(), 0, STEPS)
    broken, resumed = mixture(), mixture()
    drawn(broken, 0, 30)
    resumed.restore(broken.state(30))
    assert same(drawn(resumed, 30, STEPS), wanted[30:])
