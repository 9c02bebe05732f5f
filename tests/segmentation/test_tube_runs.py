"""Whole runs of scans with a tube: its wall is no particle, and a run that goes on agrees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, particles_of_run
from particleseg_app.segmentation.tube_wall import TubeWall
from particleseg_app.units import format_micrometres
from particleseg_app.volumes import import_scan, inspect_source
from tests.independent_scans.real import data_folder
from tests.segmentation.tube_scans import DIAMETER, Tube, tube_scan
from tests.segmentation.whole_runs import labels_of, run

SHAPE = (14, 130, 140)
TUBE = Tube((63.0, 71.0), 45.0, 13.0, (0.05, -0.04), wall=1.1)
ASKED = RunSettings(10.0, 10 * DIAMETER, method="threshwater", threshold=23000.0)


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, np.ndarray]]:
    folder = tmp_path_factory.mktemp("tube")
    grey, labels = tube_scan(np.random.default_rng(3), SHAPE, TUBE, 0.15, 0.0, 0.05)
    yield imported(grey, folder), labels


def imported(grey: np.ndarray, folder: Path) -> Path:
    tifffile.imwrite(folder / "scan.tif", grey)
    import_scan(inspect_source(folder / "scan.tif"), folder / "scan.h5", Progress(), CancelToken())
    return folder / "scan.h5"


def test_the_wall_goes_and_the_run_says_so(
    scan_file: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, true = scan_file
    result = run(path, tmp_path / "run", ASKED)
    tube = TubeWall.from_dict(result.summary["tube"])
    assert abs(tube.inner.at(7) - TUBE.inner) < 1
    found = labels_of(result)
    distance = TUBE.distance(SHAPE)
    assert not found[(distance > TUBE.inner + 2)].any()
    # Slivers at the ends of the scan may be too small, and ThreshWater joins to the wall what
    # touches it.
    farthest = ndimage.maximum(distance, true, np.arange(true.max() + 1))[1:]
    volumes = np.bincount(true.ravel())[1:]
    grains = np.flatnonzero((volumes > 200) & (farthest < TUBE.inner - 2)) + 1
    assert grains.size > 10
    missed = [number for number in grains if not found[true == number].any()]
    assert missed == []
    (note,) = result.summary["notes"]
    left_out = result.summary["containers_left_out"]
    assert left_out >= 1
    width = format_micrometres(tube.inner_width(SHAPE[0]) * 10.0)
    assert note.startswith(f"A tube {width} wide inside was found; {left_out} object")

    whole = run(
        path, tmp_path / "kept", RunSettings(**{**ASKED.as_dict(), "leave_out_containers": False})
    )
    assert whole.summary["tube"] is None and whole.summary["containers_left_out"] == 0
    assert labels_of(whole)[distance > TUBE.inner + 2].any()


def test_a_run_that_goes_on_keeps_to_the_tube_that_it_found(
    scan_file: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = scan_file
    undisturbed = run(path, tmp_path / "whole", ASKED)
    start = Progress.start
    for stage in ("Finding cores", "Growing particles", "Finding parts of the tube"):
        folder, cancel = tmp_path / stage, CancelToken()
        cancel_at = {stage: cancel}

        def stopping(
            self: Progress,
            name: str,
            total: int = 0,
            cancel_at: dict[str, CancelToken] = cancel_at,
            **more: Any,
        ) -> None:
            start(self, name, total, **more)
            if name in cancel_at:
                cancel_at[name].cancel()

        with monkeypatch.context() as patched:
            patched.setattr(Progress, "start", stopping)
            with pytest.raises(Cancelled):
                run(path, folder, ASKED, cancel)
        kept = json.loads((folder / "pieces" / "tube.json").read_text())
        assert TubeWall.from_dict(kept["tube"]) == TubeWall.from_dict(undisturbed.summary["tube"])

        def not_again(*arguments: object) -> None:
            raise AssertionError("looked for again")

        with monkeypatch.context() as patched:
            patched.setattr(particles_of_run, "find_tube", not_again)
            result = run(path, folder, ASKED)
        np.testing.assert_array_equal(labels_of(result), labels_of(undisturbed))
        for key in ("particle_count", "containers_left_out", "tube", "notes"):
            assert result.summary[key] == undisturbed.summary[key]


def test_the_wall_of_a_real_tube_is_no_particle(tmp_path: Path) -> None:
    folder = data_folder() / "sand_in_tube_16bit"
    if not folder.exists():
        pytest.skip("the real scans are not beside the repository")
    grey = np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif*"))])
    # The rows with the tube; above and below is air.
    path = imported(grey[:, 320:714], tmp_path)
    asked = RunSettings(13.15, 224.0, method="threshwater", threshold=7000.0)
    result = run(path, tmp_path / "run", asked)
    tube = TubeWall.from_dict(result.summary["tube"])
    labels = labels_of(result)
    z, y, x = np.nonzero(labels)
    number = labels[z, y, x].astype(np.int64)
    volumes = np.bincount(number)[1:]
    centre_z, centre_y, centre_x = (np.bincount(number, c)[1:] / volumes for c in (z, y, x))
    away = np.hypot(
        centre_y - tube.axis_y.start - tube.axis_y.slope * centre_z,
        centre_x - tube.axis_x.start - tube.axis_x.slope * centre_z,
    )
    assert result.particle_count > 60
    assert (away > tube.inner.start + tube.inner.slope * centre_z).sum() <= 3
    assert result.summary["containers_left_out"] >= 1
