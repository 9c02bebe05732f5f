"""Ring artefacts are found and taken off; what is real and round stays."""

from __future__ import annotations

import base64
import json
import pickle
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.errors import Cancelled, RunError
from particleseg_app.evaluation import evaluate
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunResult, RunSettings, network_input
from particleseg_app.segmentation.rings import SLAB, RinglessScan, Rings, rings_note, rings_of
from particleseg_app.segmentation.running_median import running_median
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.segmentation.tube_scans import grains
from tests.segmentation.volumes import ArrayVolume
from tests.segmentation.whole_runs import labels_of, run, run_stopped, with_damage

SHAPE = (48, 96, 104)
MIDDLE = (47.5, 51.5)
DIAMETER = 16.0
DARK, CONTRAST, NOISE = 9000.0, 6000.0, 600.0


@pytest.fixture(scope="module")
def true() -> np.ndarray:
    return grains(np.random.default_rng(5), SHAPE, np.ones(SHAPE, bool), 0.3, DIAMETER)


@pytest.fixture(scope="module")
def clean(true: np.ndarray) -> np.ndarray:
    grey = ndimage.gaussian_filter(np.where(true > 0, DARK + CONTRAST, DARK), 0.7)
    return grey + np.random.default_rng(6).normal(0, NOISE, SHAPE)


def rings(
    share: float, centre: tuple[float, float] = MIDDLE, shape: Shape = SHAPE, seed: int = 7
) -> np.ndarray:
    """Eight rings that change slowly along z; `share` of the contrast at most."""
    random = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[1], : shape[2]]
    radius = np.hypot(y - centre[0], x - centre[1])
    picture = np.zeros(shape)
    for at in np.linspace(7, min(shape[1:]) / 2, 8) + random.uniform(-1, 1, 8):
        line = random.choice([-1, 1]) * random.uniform(0.6, 1) * share * CONTRAST
        along = 1 + np.cumsum(random.normal(0, 0.2, shape[0])) / np.sqrt(shape[0])
        profile = np.exp(-0.5 * ((radius - at) / random.uniform(0.7, 1.3)) ** 2)
        picture += line * along[:, None, None] * profile
    return picture


def found_in(grey: np.ndarray) -> Rings | None:
    return rings_of(ArrayVolume(grey), Progress(), CancelToken())


def sixteen_bit(grey: np.ndarray) -> np.ndarray:
    return np.clip(grey, 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("share", [0.4, 1.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("centre", [MIDDLE, (45.0, 54.5)])
def test_most_of_what_rings_add_is_taken_off(
    clean: np.ndarray, share: float, dtype: type, centre: tuple[float, float]
) -> None:
    added = rings(share, centre)
    scale = 1 / 100 if dtype is np.uint8 else 1.0
    grey = (np.clip(clean + added, 0, 25500) * scale).astype(dtype)
    found = found_in(grey)
    assert found is not None
    assert np.hypot(*np.subtract(found.centre, centre)) < 0.8
    assert 0.6 * share < found.strongest < 1.5 * share
    whole = Box.whole(SHAPE)
    left = grey - RinglessScan(ArrayVolume(grey), found).read(whole)
    left = added - left / scale
    assert left.std() < 0.45 * added.std()


def scans_without_rings(clean: np.ndarray) -> dict[str, np.ndarray]:
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    radius = np.hypot(y - MIDDLE[0], x - MIDDLE[1])
    noise = np.random.default_rng(8).normal(0, NOISE, SHAPE)
    balls = np.random.default_rng(9).uniform(0, SHAPE, (400, 3))
    specks = np.zeros(SHAPE)
    specks[tuple(balls.astype(int).T)] = 20 * CONTRAST
    return {
        "as it is": clean,
        "a cylinder in air": np.where(radius < 40, clean, 0.3 * DARK + noise),
        "a round field of view": np.where(radius < 44, clean, 0),
        "a thick tube": np.where(abs(radius - 40) < 5, DARK + CONTRAST + noise, clean),
        "cupping": clean * (0.6 + 0.4 * (radius / 60) ** 2),
        "a slope": clean + 2 * CONTRAST * x / SHAPE[2],
        "noise as strong as the contrast": clean
        + np.random.default_rng(10).normal(0, CONTRAST, SHAPE),
        "particles of two voxels": DARK + ndimage.gaussian_filter(specks, 0.8) + noise,
        "noise alone": DARK + noise,
        "one grey value": np.full(SHAPE, 7000.0),
        "rings too weak to harm": clean + rings(0.05),
        "rings about a place far off": clean + rings(0.5, (47.5, 10.0)),
        "too small": (clean + rings(0.5))[:, 20:60, 20:60],
        "one voxel": clean[:1, :1, :1],
        "nothing that is a number": np.full(SHAPE, np.nan),
    }


def test_what_is_no_ring_stays(clean: np.ndarray) -> None:
    for name, grey in scans_without_rings(clean).items():
        kept = grey.astype(np.float32) if np.isnan(grey).any() else sixteen_bit(grey)
        assert found_in(kept) is None, name


def test_few_slices_and_an_odd_number_of_them(clean: np.ndarray) -> None:
    for count in (1, 3, 7, 22):
        grey = sixteen_bit((clean + rings(0.8))[:count])
        found = found_in(grey)
        assert found is not None and len(found.offsets) == max(1, count // SLAB)
        scan = ArrayVolume(grey)
        assert RinglessScan(scan, found).read(Box.whole(grey.shape)).shape == grey.shape  # type: ignore[arg-type]


def test_a_preview_reads_few_slices_and_finds_the_same_rings(clean: np.ndarray) -> None:
    grey = sixteen_bit(np.concatenate([clean + rings(0.6)] * 3))
    read = []

    class Counting(ArrayVolume):
        def read(self, box: Box) -> np.ndarray:
            read.append(box.shape[0])
            return super().read(box)

    whole = rings_of(Counting(grey), Progress(), CancelToken())
    slices = sum(read)
    read.clear()
    preview = rings_of(Counting(grey), Progress(), CancelToken(), all_slices=False)
    assert whole is not None and preview is not None
    assert sum(read) == 20 and slices == 20 + len(grey)
    assert preview.centre == whole.centre and preview.offsets.shape == whole.offsets.shape
    assert abs(preview.strongest - whole.strongest) < 0.1


def test_memory_follows_one_slice_and_not_their_number() -> None:
    picture = rings(0.6, (79.5, 79.5), (1, 160, 160))[0] + DARK
    noise = np.random.default_rng(1).normal(0, NOISE, picture.shape)

    class Endless:
        """Slices with the same rings, made when they are read."""

        shape = (1_000, 160, 160)
        statistics = ArrayVolume(np.arange(4000, dtype=np.uint16).reshape(40, 10, 10)).statistics

        def read(self, box: Box) -> np.ndarray:
            part = (picture + noise)[box.slices[1:]].astype(np.uint16)
            return np.repeat(part[None], box.shape[0], axis=0)

    tracemalloc.start()
    try:
        assert rings_of(Endless(), Progress(), CancelToken()) is not None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6


@given(st.data())
def test_any_box_is_read_alike(data: st.DataObject) -> None:
    shape = (11, 9, 8)
    random = np.random.default_rng(1)
    grey = random.integers(0, 65535, shape, dtype=np.uint16)
    centre = (data.draw(st.floats(0, 8)), data.draw(st.floats(0, 7)))
    offsets = random.normal(0, 900, (2, 14)).astype(np.float32)
    scan = RinglessScan(ArrayVolume(grey), Rings(centre, offsets, 1.0))
    whole = scan.read(Box.whole(shape))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    box = Box(start, stop)  # type: ignore[arg-type]
    np.testing.assert_array_equal(scan.read(box), whole[box.slices])
    # Between the middles of the slabs, at heights 1.5 and 5.5, and between whole radii.
    z, y, x = start
    part = min(max((z - 1.5) / 4, 0), 1)
    line = (1 - part) * offsets[0] + part * offsets[1]
    radius = np.hypot(y - centre[0], x - centre[1])
    expected = grey[z, y, x] - np.interp(radius, np.arange(14), line)
    assert whole[z, y, x] == pytest.approx(expected, abs=0.05)


@settings(max_examples=60)
@given(st.integers(1, 40), st.sampled_from([1, 3, 7, 15]), st.integers(0, 2**32 - 1))
def test_the_running_median_is_that_of_scipy(length: int, window: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Few values, so that many are equal.
    rows = random.integers(0, 9, (3, length)).astype(np.float32)
    expected = ndimage.median_filter(rows, (1, window), mode="nearest")
    np.testing.assert_array_equal(running_median(rows, window), expected)


def test_it_ends_at_once_when_cancelled(clean: np.ndarray) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        rings_of(ArrayVolume(sixteen_bit(clean)), Progress(), cancel)


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory: pytest.TempPathFactory, clean: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    tifffile.imwrite(folder / "rings.tif", sixteen_bit(clean + rings(1.0)))
    source = inspect_source(folder / "rings.tif")
    import_scan(source, folder / "scan.h5", Progress(), CancelToken())
    return folder / "scan.h5"


ASKED = RunSettings(
    10.0, 10 * DIAMETER, model="light", preset="fast", device="cpu", inference="torch"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, scan_path: Path) -> RunResult:
    return run(scan_path, tmp_path_factory.mktemp("whole") / "run", ASKED)


def test_more_particles_are_right_and_the_run_says_so(
    scan_path: Path, true: np.ndarray, undisturbed: RunResult, tmp_path: Path
) -> None:
    as_it_is = run(scan_path, tmp_path / "kept", replace(ASKED, denoise=False))
    better, worse = (evaluate(true, labels_of(each)) for each in (undisturbed, as_it_is))
    assert better.f1_match > max(0.99, worse.f1_match + 0.02)
    assert better.f1_instance > worse.f1_instance + 0.08
    recorded = json.loads((undisturbed.labels_path.parent / "origin.json").read_text())["rings"]
    found = Rings.from_dict(recorded, SHAPE)
    assert rings_note(found) in undisturbed.summary["notes"]
    assert undisturbed.summary["model"]["rings"] == found.in_short()
    assert as_it_is.summary["notes"] == []


def test_a_run_that_goes_on_uses_the_same_figures(
    scan_path: Path, undisturbed: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Cancelled):
        run_stopped(
            scan_path, folder, ASKED, "Finding particles with the network", 1, tiles_per_chunk=1
        )
    assert list((folder / "pieces").glob("classes_*.npy"))

    def not_again(*_: object, **__: object) -> None:
        raise AssertionError("looked for again")

    monkeypatch.setattr(network_input, "rings_of", not_again)
    # Another library may pack the same figures otherwise.
    origin = json.loads((folder / "origin.json").read_text())
    unpacked = zlib.decompress(base64.b64decode(origin["rings"]["offsets"]))
    repacked = base64.b64encode(zlib.compress(unpacked, 1)).decode()
    assert repacked != origin["rings"]["offsets"]
    origin["rings"]["offsets"] = repacked
    (folder / "origin.json").write_text(json.dumps(origin))
    result = run(scan_path, folder, ASKED, tiles_per_chunk=1)
    np.testing.assert_array_equal(labels_of(result), labels_of(undisturbed))


def test_workers_of_a_cluster_read_the_same(scan_path: Path) -> None:
    with open_scan(scan_path) as scan:
        found = rings_of(scan, Progress(), CancelToken())
        assert found is not None
        here = RinglessScan(scan, found)
        sent = pickle.loads(pickle.dumps(here))
        box = Box((3, 20, 11), (9, 50, 44))
        np.testing.assert_array_equal(sent.read(box), here.read(box))


BOMB = base64.b64encode(zlib.compress(bytes(10**8), 9)).decode()
NOTHING = base64.b64encode(zlib.compress(b"")).decode()


@pytest.mark.parametrize(
    "damage",
    [
        {"centre": [47.5]},
        {"centre": [float("nan"), 51.5]},
        {"centre": [47.5, 400.0]},
        {"centre": [10.0, 10.0]},
        {"strongest": 0},
        {"shape": [3, 3]},
        {"offsets": BOMB, "shape": [10**6, 25]},
        {"offsets": NOTHING},
        {"offsets": "no base64"},
        {"offsets": base64.b64encode(b"no zlib").decode()},
        {"offsets": None},
    ],
)
def test_damaged_figures_are_told(
    scan_path: Path, tmp_path: Path, damage: dict[str, Any], undisturbed: RunResult
) -> None:
    folder = with_damage(undisturbed, tmp_path / "run", "rings", damage)
    with pytest.raises(RunError, match="rings"):
        run(scan_path, folder, ASKED)
