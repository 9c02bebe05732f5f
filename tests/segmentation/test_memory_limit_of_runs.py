"""A run interrupted and continued with another memory limit: other pieces, the same particles."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.errors import Cancelled, InvalidValueError
from particleseg_app.memory_limit import PROGRAM_BYTES, SMALLEST_LIMIT_BYTES
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, plan, segment
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan
from tests.models.tiny_model import write_tiny_model

SHAPE = (40, 52, 60)
LITTLE, MUCH = SMALLEST_LIMIT_BYTES, 16 * 10**9


@pytest.fixture
def scan_path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    z, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    grey = 10000 + rng.normal(0, 1500, SHAPE)
    for centre in rng.uniform(0, 1, (9, 3)) * SHAPE:
        grey[((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) < 36] += 20000
    tifffile.imwrite(tmp_path / "scan.tif", grey.astype(np.uint16))
    import_scan(
        inspect_source(tmp_path / "scan.tif"), tmp_path / "scan.h5", Progress(), CancelToken()
    )
    return tmp_path / "scan.h5"


@pytest.fixture
def a_little_is_one_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of the tiny model are so small that thousands fit any limit: make them large."""
    monkeypatch.setattr(plan, "_BYTES_PER_CHUNK_VOXEL", (LITTLE - PROGRAM_BYTES) // 24**3)


def _run(folder: Path, scan_path: Path, limit: int, settings: RunSettings, stop_after: int = 0):
    """Labels of a run, and its tiles per chunk; with `stop_after` it is cancelled then."""
    progress, cancel = Progress(), CancelToken()
    if stop_after:
        advance = progress.advance

        def advance_and_stop(steps: int = 1) -> None:
            advance(steps)
            if progress.snapshot().done >= stop_after:
                cancel.cancel()

        progress.advance = advance_and_stop  # type: ignore[method-assign]
    with open_scan(scan_path) as scan:
        result = segment(folder, scan, settings, progress, cancel, memory_limit_bytes=limit)
    with open_labels(result.labels_path) as labels:
        return labels.read(Box.whole(labels.shape)), result.summary["model"]["tiles_per_chunk"]


@pytest.mark.parametrize(("first", "then"), [(LITTLE, MUCH), (MUCH, LITTLE)])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_run_continued_with_another_limit_gives_the_same(
    tmp_path, scan_path, a_little_is_one_tile, first, then, stop_after
):
    model = write_tiny_model(tmp_path / "tiny").folder
    settings = RunSettings(10, 120, model=str(model), device="cpu", min_relative_volume=0.0)
    with_little, tiles_with_little = _run(tmp_path / "little", scan_path, LITTLE, settings)
    with_much, tiles_with_much = _run(tmp_path / "much", scan_path, MUCH, settings)
    assert tiles_with_little < tiles_with_much
    np.testing.assert_array_equal(with_little, with_much)
    assert with_much.max() > 0

    with pytest.raises(Cancelled):
        _run(tmp_path / "run", scan_path, first, settings, stop_after)
    resumed, tiles = _run(tmp_path / "run", scan_path, then, settings)
    assert tiles == {LITTLE: tiles_with_little, MUCH: tiles_with_much}[first]
    np.testing.assert_array_equal(resumed, with_much)


def test_a_limit_below_the_program_is_refused_before_anything_is_written(tmp_path, scan_path):
    settings = RunSettings(10, 120, method="threshwater")
    with open_scan(scan_path) as scan, pytest.raises(InvalidValueError, match="does not fit"):
        segment(
            tmp_path / "run",
            scan,
            settings,
            Progress(),
            CancelToken(),
            memory_limit_bytes=SMALLEST_LIMIT_BYTES - 1,
        )
    assert not (tmp_path / "run").exists()
