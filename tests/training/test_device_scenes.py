"""Scenes made while they are trained on: the same steps see the same patches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from particleseg_app.errors import InvalidValueError
from particleseg_app.training import device_scenes
from particleseg_app.training.augmentation import Orientation
from particleseg_app.training.device_scenes import DeviceScenes
from particleseg_app.training.fresh_scenes import FreshScene, SceneMaker, Stream
from particleseg_app.training.scene_pool import BRIDGE_BIT, CONTACT_BIT

STREAM = Stream({"touching": 0.5, "settled": 0.5}, 7_000, window=3, steps_per_scene=2.0, edge=40)


class MadeUpScenes:
    """Stands for `SceneMaker`: scene n has the grey values n + share of the way along x."""

    made = 1_000  # scenes that are ready

    def __init__(self, stream: Stream, processes: int | None, pin: bool) -> None:
        self.edge = stream.edge
        self.taken: list[int] = []

    def begin_at(self, number: int) -> None:
        pass

    def ready(self, number: int) -> bool:
        return number < self.made

    def take(self, number: int) -> FreshScene:
        self.taken.append(number)
        grey = torch.arange(self.edge) / 64 + number
        grey = grey.expand((self.edge,) * 3).half()
        target = torch.zeros((self.edge,) * 3, dtype=torch.uint8)
        target[20:24, 20:24] = 1 | BRIDGE_BIT
        contacts = np.zeros((self.edge // 4,) * 3, bool)
        contacts[0, 0, 0] = True
        return FreshScene(grey, target, contacts)

    def close(self) -> None:
        pass


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[MadeUpScenes]]:
    monkeypatch.setattr(device_scenes, "SceneMaker", MadeUpScenes)
    monkeypatch.setattr(MadeUpScenes, "made", 1_000)
    yield MadeUpScenes


def numbers(grey: torch.Tensor) -> set[int]:
    """Which made-up scenes the patches are from."""
    return {int(one.min()) for one in grey}


def test_a_step_knows_its_scenes() -> None:
    assert list(STREAM.scenes(0)) == [0, 1, 2]
    assert list(STREAM.scenes(1)) == [0, 1, 2]
    assert list(STREAM.scenes(2)) == [1, 2, 3]
    assert {STREAM.preset(number) for number in range(20)} == {"touching", "settled"}


@pytest.mark.slow
def test_processes_and_interruptions_do_not_change_a_patch() -> None:
    with DeviceScenes(STREAM, seed=3, processes=2) as source:
        unbroken = [source.batch(step, 2, 24) for step in range(7)]
        assert isinstance(source._maker, SceneMaker)
        left = source._maker._folder
        state = source.state(5)
    assert not left.exists()
    with DeviceScenes(STREAM, seed=3, processes=1) as resumed:
        resumed.restore(state)
        again = [resumed.batch(step, 2, 24) for step in (5, 6)]
    for one, other in zip(unbroken[5:], again, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    grey, target = unbroken[0]
    assert grey.shape == (2, 1, 24, 24, 24) and grey.dtype == torch.float16
    assert target.shape == (2, 24, 24, 24) and target.dtype == torch.uint8
    assert set((target & 3).unique().tolist()) <= {0, 1, 2}
    assert any((target & CONTACT_BIT).any() for _, target in unbroken)
    assert not torch.equal(unbroken[0][0], unbroken[1][0])


@pytest.mark.slow
def test_marked_scenes_have_bridges_and_no_file_is_left(tmp_path: Path) -> None:
    maker = SceneMaker(replace(STREAM, critical=True), processes=1)
    scene = maker.take(0)
    assert (scene.target & BRIDGE_BIT).any()
    assert scene.contacts.shape == (10, 10, 10) and scene.contacts.any()
    folder = maker._folder
    maker.close()
    assert not folder.exists()


def test_scenes_that_are_waited_for_come_at_their_steps(made_up: type[MadeUpScenes]) -> None:
    with DeviceScenes(STREAM, seed=1) as source:
        for step in range(12):
            grey, _ = source.batch(step, 8, 16)
            assert numbers(grey) <= set(STREAM.scenes(step))
            assert source.scene_count == STREAM.scenes(step).stop
        assert isinstance(source._maker, MadeUpScenes)
        taken = source._maker.taken
    assert taken == list(range(8))


def test_without_waiting_scenes_come_when_they_are_made(made_up: type[MadeUpScenes]) -> None:
    stream = replace(STREAM, window=6, steps_per_scene=None, first=2)
    made_up.made = 0
    with DeviceScenes(stream, seed=1) as source:
        assert numbers(source.batch(0, 20, 16)[0]) == {0, 1}  # these two are waited for
        made_up.made = 5
        assert numbers(source.batch(1, 40, 16)[0]) == {0, 1, 2, 3, 4}
        made_up.made = 9
        assert numbers(source.batch(2, 60, 16)[0]) == {3, 4, 5, 6, 7, 8}
        state = source.state(3)
    with DeviceScenes(stream, seed=1) as resumed:
        resumed.restore(state)
        assert numbers(resumed.batch(3, 20, 16)[0]) == {9, 10}
        assert resumed.scene_count == 11


def test_grey_and_target_of_a_patch_belong_together(made_up: type[MadeUpScenes]) -> None:
    with DeviceScenes(STREAM, seed=1) as source:
        found = 0
        for step in range(10):
            for grey, target in zip(*source.batch(step, 4, 24), strict=True):
                # Grey values grow along x: the bar of ones lies along the same axis.
                axis = max(range(3), key=lambda a: float(grey[0].float().diff(dim=a).abs().sum()))
                ones = (target & 3 == 1).nonzero()
                found += len(ones) > 0
                if len(ones):
                    spread = ones.max(0).values - ones.min(0).values
                    assert int(spread.argmax()) == axis
    assert found > 10


def test_hard_places_are_drawn_more_often(made_up: type[MadeUpScenes]) -> None:
    stream = replace(STREAM, window=4, steps_per_scene=None, first=4, edge=64)
    made_up.made = 4
    wrong_corner = np.array([48, 0, 16])
    shares = []
    for share in (0.0, 0.5):
        with DeviceScenes(stream, seed=1, hard_places=share) as source:
            hits = 0
            for step in range(300):
                source.batch(step, 4, 32)
                cells = np.zeros((4, 2, 2, 2), np.float32)
                for cut, seen in zip(source._cuts, cells, strict=True):
                    inside = wrong_corner - cut.corner
                    if cut.slot == 2 and (inside > -16).all() and (inside < 32).all():
                        hits += step >= 100
                        before = np.zeros((2, 2, 2), np.float32)
                        before[tuple(np.clip(np.rint(inside / 16).astype(int), 0, 1))] = 0.5
                        seen[:] = cut.turn.of(torch.from_numpy(before)).numpy()
                if share:
                    source.learned(step, torch.from_numpy(cells))
            shares.append(hits / 800)
    assert shares[0] < 0.2
    assert shares[1] > shares[0] + 0.2


def test_looks_count_two_steps_later_and_survive_a_checkpoint(made_up: type[MadeUpScenes]) -> None:
    stream = replace(STREAM, edge=64)
    cells = torch.rand((2, 2, 2, 2), generator=torch.Generator().manual_seed(0))

    def steps(source: DeviceScenes, first: int, last: int) -> list[torch.Tensor]:
        greys = []
        for step in range(first, last):
            greys.append(source.batch(step, 2, 32)[0])
            source.learned(step, cells * step)
        return greys

    with DeviceScenes(stream, seed=1, hard_places=1.0) as source:
        source.batch(0, 2, 32)
        source.learned(0, cells)
        source.batch(1, 2, 32)
        assert source._hard is not None and not source._hard.map.any()
        source.learned(1, cells)
        source.batch(2, 2, 32)
        assert source._hard.map.any()
    with DeviceScenes(stream, seed=1, hard_places=0.5) as source:
        steps(source, 0, 9)
        state = source.state(9)
        wanted = steps(source, 9, 16)
    with DeviceScenes(stream, seed=1, hard_places=0.5) as resumed:
        resumed.restore(state)
        found = steps(resumed, 9, 16)
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_a_look_at_a_scene_that_has_gone_is_forgotten(made_up: type[MadeUpScenes]) -> None:
    stream = replace(STREAM, edge=64, window=1, steps_per_scene=1.0)
    with DeviceScenes(stream, seed=1, hard_places=0.5) as source:
        for step in range(5):
            source.batch(step, 1, 32)
            source.learned(step, torch.ones((1, 2, 2, 2)))
        assert source._hard is not None and not source._hard.map.any()


@pytest.mark.parametrize("state", [[], [9, []], [9, [torch.ones((7, 3, 3, 3))]]])
def test_a_checkpoint_of_other_settings_is_gone_on_from(
    made_up: type[MadeUpScenes], state: list[object]
) -> None:
    with DeviceScenes(STREAM, seed=1, hard_places=0.5) as source:
        source.restore(state)
        assert numbers(source.batch(8, 8, 16)[0]) <= {4, 5, 6}


def test_hard_places_need_patches_of_whole_cells(made_up: type[MadeUpScenes]) -> None:
    with (
        DeviceScenes(STREAM, seed=1, hard_places=0.5) as source,
        pytest.raises(InvalidValueError, match="multiple of 16"),
    ):
        source.batch(0, 1, 24)


def test_a_turned_look_is_turned_back(made_up: type[MadeUpScenes]) -> None:
    turn = Orientation((2, 0, 1), (0, 2))
    cells = np.arange(27.0).reshape(3, 3, 3)
    assert np.array_equal(turn.undone(turn.of(torch.from_numpy(cells)).numpy()), cells)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graphics_card_cuts_the_same_patches(made_up: type[MadeUpScenes]) -> None:
    stream = replace(STREAM, edge=64)
    drawn = []
    for device in ("cpu", "cuda:0"):
        with DeviceScenes(stream, seed=1, device=device, hard_places=0.5) as source:
            greys = []
            for step in range(8):
                grey, _ = source.batch(step, 2, 32)
                greys.append(grey.cpu())
                source.learned(step, grey.float().mean((1, 2, 3, 4)).reshape(2, 1, 1, 1)
                               .expand(2, 2, 2, 2))  # fmt: skip
            drawn.append(torch.stack(greys))
    assert torch.equal(*drawn)
