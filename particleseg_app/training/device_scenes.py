"""Fresh scenes on the device that trains, which cuts its patches from them by itself."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from particleseg_app.training.augmentation import Orientation
from particleseg_app.training.fresh_scenes import COARSE, FreshScene, SceneMaker, Stream
from particleseg_app.training.hard_places import HardPlaces, check_edge

if TYPE_CHECKING:
    import torch

# Looks are taken into account so many steps later, when a graphics card is surely done with them:
# nobody waits for it, and nothing depends on how far behind it is.
LOOKS_LATER = 2


class Maker(Protocol):
    """Where scenes come from, as a `SceneMaker` has it."""

    def begin_at(self, number: int) -> None: ...

    def ready(self, number: int) -> bool: ...

    def take(self, number: int) -> FreshScene: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Cut:
    number: int  # of the scene
    slot: int
    corner: np.ndarray
    turn: Orientation


@dataclass(frozen=True)
class _Look:
    step: int
    cuts: list[_Cut]
    cells: torch.Tensor
    ready: torch.cuda.Event | None


class DeviceScenes:
    """A `BatchSource` over a `Stream`, whose scenes lie on the device that trains.

    Patches are turned at random as they are cut. A scene of 128³ voxels takes 6 MB. With
    `Stream.steps_per_scene` neither the count of processes nor an interruption changes a patch;
    without it a training that goes on does so with scenes it never saw.
    """

    prefetched = False

    def __init__(
        self,
        stream: Stream,
        seed: int,
        device: str = "cpu",
        processes: int | None = None,
        hard_places: float = 0.0,
        maker: Maker | None = None,
    ) -> None:
        """`hard_places`: share of the patches that are drawn from where the network was wrong.

        `maker`: where the scenes come from, else `processes` make them.
        """
        import torch

        self._stream, self._seed = stream, seed
        self._device = torch.device(device)
        pin = self._device.type == "cuda"
        self._maker: Maker = maker or SceneMaker(stream, processes, pin)
        shape = (stream.window, *(stream.edge,) * 3)
        self._grey = torch.empty(shape, dtype=torch.float16, device=self._device)
        self._target = torch.empty(shape, dtype=torch.uint8, device=self._device)
        coarse = -(-stream.edge // COARSE)
        self._contacts = np.zeros((stream.window, *(coarse,) * 3), bool)
        self._numbers = range(0)  # of the scenes that are here
        self._share = hard_places
        self._hard = HardPlaces(stream.window, stream.edge) if hard_places else None
        self._mapped = 0  # scenes before this one have their map already
        self._cuts: list[_Cut] = []
        self._looks: list[_Look] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._maker.close()

    @property
    def scene_count(self) -> int:
        """How many scenes have been here so far."""
        return self._numbers.stop

    def batch(self, step: int, size: int, edge: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Greys (size, 1, edge³) float16 and encoded targets (size, edge³) of one step, turned.

        Steps are asked for in order.
        """
        import torch

        self._take_up(step)
        if self._hard is not None:
            check_edge(edge)
            self._look_back(step - LOOKS_LATER)
        rng = np.random.default_rng([self._seed, step])
        numbers = np.array(self._numbers)
        plain = rng.choice(numbers, size, replace=len(numbers) < size)
        self._cuts = [self._cut(rng, int(number), numbers, edge) for number in plain]
        greys, targets = [], []
        for cut in self._cuts:
            window = tuple(slice(int(c), int(c) + edge) for c in cut.corner)
            greys.append(cut.turn.of(self._grey[cut.slot][window]))
            targets.append(cut.turn.of(self._target[cut.slot][window]))
        return torch.stack(greys)[:, None], torch.stack(targets)

    def learned(self, step: int, cells: torch.Tensor) -> None:
        """What `wrong_cells` says of the batch of `step`; does not wait for the device."""
        import torch

        ready = None
        if self._device.type == "cuda":
            cells = cells.to("cpu", non_blocking=True)
            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream(self._device))
        self._looks.append(_Look(step, self._cuts, cells, ready))

    def state(self, step: int) -> list[Any]:
        """The first scene that was not here yet, and what is known of hard places."""
        import torch

        self._look_back(step)
        maps = [] if self._hard is None else [torch.from_numpy(self._hard.map.copy())]
        return [self._numbers.stop, maps]

    def restore(self, state: list[Any]) -> None:
        """Go on from `state`; a map of other scenes, or of more or fewer of them, is left."""
        if not state:  # of a training whose scenes followed from the step alone
            return
        unseen, maps = state
        if self._stream.steps_per_scene is None:
            self._numbers = range(int(unseen), int(unseen))
            self._maker.begin_at(int(unseen))
        elif self._hard is not None and maps and maps[0].shape == self._hard.map.shape:
            self._hard.restore(maps[0].cpu().numpy())
            self._mapped = int(unseen)

    def _take_up(self, step: int) -> None:
        """Bring the scenes here that `step` draws from."""
        stream = self._stream
        if stream.steps_per_scene is not None:
            wanted = stream.scenes(step)
            missing = range(max(self._numbers.stop, wanted.start), wanted.stop)
            self._maker.begin_at(missing.start)
            for number in missing:
                self._put(number)
            self._numbers = wanted
            return
        first = self._numbers.start
        while len(self._numbers) < stream.first or self._maker.ready(self._numbers.stop):
            self._put(self._numbers.stop)
            first = max(first, self._numbers.stop + 1 - stream.window)
            self._numbers = range(first, self._numbers.stop + 1)

    def _put(self, number: int) -> None:
        scene, slot = self._maker.take(number), number % self._stream.window
        self._grey[slot].copy_(scene.grey, non_blocking=True)
        self._target[slot].copy_(scene.target, non_blocking=True)
        self._contacts[slot] = scene.contacts
        if self._hard is not None and number >= self._mapped:
            self._hard.new_scene(slot)

    def _cut(self, rng: np.random.Generator, number: int, numbers: np.ndarray, edge: int) -> _Cut:
        """A patch of scene `number` or, from a hard place, of any of `numbers`."""
        window = self._stream.window
        if self._hard is not None and rng.random() < self._share:
            index, place = self._hard.draw(rng, numbers % window)
            number = int(numbers[index])
            corner = place - rng.integers(edge // 4, 3 * edge // 4, 3)
            corner = np.clip(corner, 0, self._stream.edge - edge)
        else:
            corner = self._corner(rng, number % window, edge)
        return _Cut(number, number % window, corner, Orientation.random(rng))

    def _corner(self, rng: np.random.Generator, slot: int, edge: int) -> np.ndarray:
        """Anywhere or, in half of the cases, the best of some places by voxels at contacts."""
        corners = rng.integers(0, self._stream.edge - edge + 1, (4, 3))
        if rng.random() < 0.5:
            return np.asarray(corners[0])
        counts = [
            self._contacts[slot][
                tuple(slice(c // COARSE, (c + edge) // COARSE) for c in corner)
            ].sum()
            for corner in corners
        ]
        return np.asarray(corners[int(np.argmax(counts))])

    def _look_back(self, step: int) -> None:
        """Take the looks of the steps up to `step` into account."""
        while self._looks and self._looks[0].step <= step:
            look = self._looks.pop(0)
            if look.ready is not None:
                look.ready.synchronize()
            assert self._hard is not None
            for cut, cells in zip(look.cuts, look.cells.numpy(), strict=True):
                if cut.number in self._numbers:
                    self._hard.look(cut.slot, cut.corner, cut.turn.undone(cells))
