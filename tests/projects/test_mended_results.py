"""What a project hands out after mends: table, provenance, exports and patches."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile

from particleseg_app.cli import main
from particleseg_app.errors import ProjectError
from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.projects.review_files import open_review
from particleseg_app.projects.segmentation_job import (
    run_provenance,
    run_segmentation_job,
    run_table,
    write_main_results,
)
from particleseg_app.training.lab_patches import read_lab_patch
from particleseg_app.units import Box
from particleseg_app.volumes import inspect_source

RUN = "run-001"
SHAPE = (40, 60, 80)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished run of a dozen balls."""
    folder = tmp_path_factory.mktemp("finished")
    grid = np.indices(SHAPE)
    grey = np.random.default_rng(3).normal(2000, 100, SHAPE)
    for z in (11, 29):
        for y in (11, 30, 49):
            for x in (11, 31, 51, 69):
                grey[sum((grid[a] - c) ** 2 for a, c in enumerate((z, y, x))) <= 49] += 6000
    tifffile.imwrite(folder / "balls.tif", grey.astype(np.uint16), photometric="minisblack")
    settings = {
        "voxel_size_um": 5.0,
        "particle_diameter_um": 70.0,
        "method": "threshwater",
    }
    with Project.create(folder / "project") as project:
        source = inspect_source(folder / "balls.tif")
        scan = project.add_scan(source, Progress(), CancelToken())
        run = project.new_run(scan.id, settings)
        run_segmentation_job(project, run.id, Progress(), CancelToken())
    return folder / "project"


@pytest.fixture
def mended(finished: Path) -> Path:
    """The same with three mends: two particles merged, one deleted, one nibbled at."""
    journal = finished / "runs" / RUN / "review.sqlite"
    journal.unlink(missing_ok=True)
    with Project.open(finished) as project, open_review(project, RUN) as review:
        tools = review.mending(None)
        tools.apply(tools.preview_merge([1, 2]), "merge", "Merged particles 1 and 2")
        tools.apply(tools.preview_delete([5]), "delete", "Deleted particle 5")
        tools.apply(tools.preview_erase([(11, 11, 69)], 3), "erase", "Erased a bit")
    return finished


def labels_of(folder: Path) -> np.ndarray:
    with Project.open(folder, read_only=True) as project, open_review(project, RUN) as review:
        return review.labels.read(Box.whole(SHAPE))


def test_the_table_is_that_of_the_mended_labels(mended: Path) -> None:
    with Project.open(mended, read_only=True) as project:
        table = run_table(project, RUN)
        with open_review(project, RUN) as review, project.open_scan("scan-001") as scan:
            whole = measure_particles(review.labels, scan, 5.0, Progress(), CancelToken())
            assert review.journal.read_only
            assert len(review.segmented_table) == len(table) + 2
    pd.testing.assert_frame_equal(table, whole, check_exact=True)
    assert not table["label"].isin([5]).any()


def test_the_result_of_the_run_is_never_changed(mended: Path) -> None:
    run = mended / "runs" / RUN
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.suffix in (".h5", ".parquet")}
    with Project.open(mended) as project, open_review(project, RUN) as review:
        review.journal.revert()
        assert run_provenance(project, RUN)["mends"] == 0
        pd.testing.assert_frame_equal(run_table(project, RUN), review.segmented_table)
        review.journal.undo()
        assert run_provenance(project, RUN)["mends"] == 3
    assert before == {p.name: (run / p).read_bytes() for p in map(Path, before)}


def test_exports_show_the_mends_and_keep_the_numbers(mended: Path, tmp_path: Path) -> None:
    csv, tiff, hdf5 = tmp_path / "t.csv", tmp_path / "l.tif", tmp_path / "l.h5"
    options = ["--csv", csv, "--labels-tiff", tiff, "--labels-hdf5", hdf5]
    assert main(["export", str(mended), *map(str, options)]) == 0
    about = json.loads((tmp_path / "t.json").read_text())
    assert about["mends"] == 3
    assert about["provenance"]["mends"] == 3
    wanted = labels_of(mended)
    table = pd.read_csv(csv)
    assert about["row_count"] == len(table)
    np.testing.assert_array_equal(tifffile.imread(tiff), wanted)
    with h5py.File(hdf5) as file:
        np.testing.assert_array_equal(file["labels"][:], wanted)
        assert file["labels"].attrs["particle_count"] == len(table)
    numbers, voxels = np.unique(wanted[wanted > 0], return_counts=True)
    np.testing.assert_array_equal(table["label"], numbers)
    np.testing.assert_array_equal(table["volume_voxels"], voxels)
    assert 5 not in numbers


def test_main_results_show_the_mends(mended: Path) -> None:
    with Project.open(mended) as project:
        write_main_results(project, RUN, Progress(), CancelToken())
        np.testing.assert_array_equal(tifffile.imread(mended / "labels.tif"), labels_of(mended))
        assert json.loads((mended / "particles.json").read_text())["mends"] == 3


def test_without_mends_the_sidecar_says_none(finished: Path, tmp_path: Path) -> None:
    (finished / "runs" / RUN / "review.sqlite").unlink(missing_ok=True)
    assert main(["export", str(finished), "--csv", str(tmp_path / "t.csv")]) == 0
    assert json.loads((tmp_path / "t.json").read_text())["mends"] == 0
    assert not (finished / "runs" / RUN / "review.sqlite").exists()


def test_a_region_becomes_a_patch_for_training(mended: Path, tmp_path: Path) -> None:
    options = ["--patch", "0:40,0:45,10:80", "--patches-folder", str(tmp_path / "p")]
    assert main(["export", str(mended), *options]) == 0
    names = sorted(p.name for p in (tmp_path / "p").iterdir())
    stem = f"project_{RUN}_0_0_10"
    assert names == [f"{stem}.json", f"{stem}_image.tif", f"{stem}_labels.tif"]
    patch = read_lab_patch(tmp_path / "p", stem)
    wanted = labels_of(mended)[0:40, 0:45, 10:80]
    np.testing.assert_array_equal(patch.labels > 0, wanted > 0)
    assert patch.particle_diameter_um == 70.0
    assert main(["export", str(mended), *options]) == 1, "it is there already"
    assert main(["export", str(mended), *options, "--patch-name", "two"]) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--patch", "0:40,0:40"],
        ["--patch", "0:40,0:40,0:-4", "--patches-folder", "p"],
        ["--patch", "0:40,0:40,0:40"],
        ["--patches-folder", "p"],
    ],
)
def test_a_region_that_is_none_is_wrong_usage(options: list[str], finished: Path) -> None:
    assert main(["export", str(finished), *options]) == 2


def test_a_read_only_project_mends_nothing(mended: Path) -> None:
    with (
        Project.open(mended, read_only=True) as project,
        open_review(project, RUN, read_only=False) as review,
    ):
        tools = review.mending(None)
        with pytest.raises(ProjectError, match="read only"):
            tools.apply(tools.preview_delete([3]), "delete", "")
        assert not review.journal.can_undo
