"""Patches saved from a review are what training takes, and what it would refuse is not saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from particleseg_app.errors import ExportError, InvalidValueError
from particleseg_app.review.training_patch import save_training_patch
from particleseg_app.training.lab_patches import patch_names, read_lab_patch
from particleseg_app.training.lab_source import LabPatchSource
from particleseg_app.units import Box

SHAPE = (60, 60, 80)


class Volume:
    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape

    def read(self, box: Box) -> np.ndarray:
        return self.values[box.slices]


@pytest.fixture
def volumes() -> tuple[Volume, Volume]:
    labels = np.zeros(SHAPE, np.uint32)
    grid = np.indices(SHAPE)
    for number, (z, y, x) in enumerate(
        (z, y, x) for z in (10, 30, 50) for y in (10, 30, 50) for x in (10, 30, 50, 70)
    ):
        near = sum((grid[a] - c) ** 2 for a, c in enumerate((z, y, x))) <= 8**2
        labels[near] = 70_000 + 3 * number  # numbers as they are after mends
    noise = np.random.default_rng(0).normal(0, 80, SHAPE)
    return Volume((1000 + 3000 * (labels > 0) + noise).astype(np.uint16)), Volume(labels)


def save(volumes: tuple[Volume, Volume], folder: Path, box: Box, **changes: object) -> list[Path]:
    wanted = {"voxel_size_um": 5.0, "particle_diameter_um": 80.0, "name": "ore 1"} | changes
    return save_training_patch(volumes[0], volumes[1], box, folder=folder, **wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_training_takes_it(dtype: type, volumes: tuple[Volume, Volume], tmp_path: Path) -> None:
    scan = Volume((volumes[0].values // 20).astype(dtype))
    box = Box((2, 3, 4), (54, 60, 77))
    written = save((scan, volumes[1]), tmp_path / "new" / "patches", box)
    assert [p.name for p in written] == ["ore 1_image.tif", "ore 1_labels.tif", "ore 1.json"]
    folder = written[0].parent
    assert patch_names(folder) == ["ore 1"]
    patch = read_lab_patch(folder, "ore 1")
    np.testing.assert_array_equal(patch.grey, scan.read(box))
    assert patch.grey.dtype == dtype
    cut = volumes[1].read(box)
    np.testing.assert_array_equal(patch.labels > 0, cut > 0)
    pairs = np.unique(np.stack([patch.labels.ravel(), cut.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(cut)) == int(patch.labels.max()) + 1
    assert (patch.voxel_size_um, patch.particle_diameter_um) == (5.0, 80.0)
    source = LabPatchSource(folder, 16.0, 2.0, seed=1, edge=32)
    source.look_for_scenes()
    grey, target = source.batch(0, 2, 32)
    assert grey.shape[-3:] == target.shape[-3:] == (32, 32, 32)


def test_what_training_would_refuse_is_not_saved(
    volumes: tuple[Volume, Volume], tmp_path: Path
) -> None:
    good = Box((0, 0, 0), (40, 40, 40))
    cases = [
        (Box((0, 0, 0), (10, 40, 40)), {}, "thinner than one average"),
        (Box((30, 0, 0), (70, 40, 40)), {}, "not inside the scan"),
        (Box((30, 0, 0), (30, 40, 40)), {}, "not inside the scan"),
        (good, {"particle_diameter_um": 15.0}, "voxels wide on average"),
        (good, {"particle_diameter_um": -1.0}, "not possible"),
    ]
    for box, changes, message in cases:
        with pytest.raises(InvalidValueError, match=message):
            save(volumes, tmp_path, box, **changes)
    empty = Volume(np.zeros(SHAPE, np.uint32))
    with pytest.raises(InvalidValueError, match="no particle"):
        save((volumes[0], empty), tmp_path, good)
    with pytest.raises(InvalidValueError, match="same grey value"):
        save((empty, volumes[1]), tmp_path, good)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "../out", "a/b", ".hidden", "x_labels", "a\nb"])
def test_names_stay_in_the_folder(
    name: str, volumes: tuple[Volume, Volume], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="no name for a patch"):
        save(volumes, tmp_path, Box((0, 0, 0), (40, 40, 40)), name=name)


def test_a_patch_is_never_replaced(volumes: tuple[Volume, Volume], tmp_path: Path) -> None:
    box = Box((0, 0, 0), (40, 40, 40))
    save(volumes, tmp_path, box)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ExportError, match="there already"):
        save(volumes, tmp_path, Box((4, 4, 4), (44, 44, 44)))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_told(
    volumes: tuple[Volume, Volume], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        save(volumes, tmp_path / "file", Box((0, 0, 0), (40, 40, 40)))
