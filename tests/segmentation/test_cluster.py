"""One scan on a Dask cluster: the voxels of one machine, whatever happens to workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.cores import usable_cores
from particleseg_app.errors import Cancelled, InvalidValueError, RunError, ScanError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan
from tests.models.tiny_model import write_overflowing_model, write_tiny_model

pytest.importorskip("distributed")
from particleseg_app.segmentation.cluster import check_address, connect
from particleseg_app.segmentation.cluster_worker import check_same_versions, versions

SHAPE = (60, 64, 72)


@pytest.fixture(scope="module")
def cluster():
    with connect("local:2") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    grey = np.random.default_rng(3).normal(20000, 6000, SHAPE)
    tifffile.imwrite(folder / "noise.tif", np.clip(grey, 0, 65535).astype(np.uint16))
    import_scan(inspect_source(folder / "noise.tif"), folder / "scan.h5", Progress(), CancelToken())
    return folder / "scan.h5"


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> RunSettings:
    model = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    # OpenVINO may round a few voxels otherwise in a worker's process (docs/cluster.md).
    return RunSettings(
        10, 120, model=str(model.folder), device="cpu", inference="torch", min_relative_volume=0.0
    )


THRESHWATER = RunSettings(10, 120, method="threshwater", erosion_radius=1)


def run(folder, scan_path, settings, progress=None, cancel=None, **options):
    with open_scan(scan_path) as scan:
        result = segment(
            folder,
            scan,
            settings,
            progress or Progress(),
            cancel or CancelToken(),
            tiles_per_chunk=2,
            **options,
        )
    with open_labels(result.labels_path) as labels:
        return labels.read(Box.whole(labels.shape))


@pytest.fixture(scope="module")
def expected(tmp_path_factory, scan_path, settings) -> np.ndarray:
    return run(tmp_path_factory.mktemp("here") / "run", scan_path, settings)


class CallingProgress(Progress):
    """Calls a function once, when the given number of tiles is done."""

    def __init__(self, tiles, do):
        super().__init__()
        self.tiles, self.do = tiles, do

    def advance(self, steps=1):
        super().advance(steps)
        now = self.snapshot()
        if now.unit == "tiles" and now.done >= self.tiles and self.do is not None:
            do, self.do = self.do, None
            do()


def pids(cluster) -> list[int]:
    found = []
    lock = threading.Lock()

    def pid(number):
        time.sleep(0.3)
        with lock:
            return os.getpid()

    cluster.shared_folder = None
    cluster.each(pid, range(8), CancelToken(), lambda item, result: found.append(result) or ())
    return sorted(set(found))


def test_a_cluster_finds_the_same_particles(tmp_path, cluster, scan_path, settings, expected):
    progress = Progress()
    cluster.shared_folder = tmp_path
    found = run(tmp_path / "run", scan_path, settings, progress, workers=cluster)
    assert expected.max() > 20
    np.testing.assert_array_equal(found, expected)
    assert not list(tmp_path.glob("**/.cluster*"))
    assert not list(tmp_path.glob("**/*.part"))


def test_an_answer_that_is_no_number_ends_the_run_here_and_on_a_cluster(
    tmp_path, cluster, scan_path
):
    model = write_overflowing_model(tmp_path / "model").folder
    settings = RunSettings(10, 120, model=str(model), device="cpu", inference="torch")
    cluster.shared_folder = tmp_path
    for name, options in (("here", {}), ("cluster", {"workers": cluster})):
        with pytest.raises(RunError, match="no number"):
            run(tmp_path / name, scan_path, settings, **options)
        assert not list((tmp_path / name).glob("**/classes_*.npy"))


def test_threshwater_on_a_cluster(tmp_path, cluster, scan_path):
    here = run(tmp_path / "here", scan_path, THRESHWATER)
    np.testing.assert_array_equal(
        run(tmp_path / "there", scan_path, THRESHWATER, workers=cluster), here
    )
    assert here.max() > 20


def test_progress_counts_every_tile_once(tmp_path, cluster, scan_path, settings):
    counts = []

    class Watched(Progress):
        def start(self, stage, total=0, unit="", done=0):
            counts.append(self.snapshot())
            super().start(stage, total, unit, done)

    run(tmp_path / "run", scan_path, settings, Watched(), workers=cluster)
    finished = [count for count in counts if count.total]
    assert {count.unit for count in finished} == {"tiles", "blocks"}
    assert all(count.done == count.total for count in finished)


@pytest.mark.parametrize("continued_by", ["here", "cluster"])
def test_a_cancelled_run_goes_on_anywhere(
    tmp_path, cluster, scan_path, settings, expected, continued_by
):
    cancel = CancelToken()
    progress = CallingProgress(6, cancel.cancel)
    with pytest.raises(Cancelled):
        run(tmp_path / "run", scan_path, settings, progress, cancel, workers=cluster)
    assert list((tmp_path / "run" / "pieces").glob("*.npy"))
    again = Progress()
    workers = cluster if continued_by == "cluster" else None
    found = run(tmp_path / "run", scan_path, settings, again, workers=workers)
    np.testing.assert_array_equal(found, expected)


def test_what_was_begun_here_is_ended_by_a_cluster(
    tmp_path, cluster, scan_path, settings, expected
):
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        progress = CallingProgress(9, cancel.cancel)
        run(tmp_path / "run", scan_path, settings, progress, cancel)
    found = run(tmp_path / "run", scan_path, settings, workers=cluster)
    np.testing.assert_array_equal(found, expected)


def test_workers_denoise_with_the_threads_they_were_given(cluster):
    def threads(number):
        from unittest.mock import patch

        from particleseg_app.segmentation import total_variation

        pool = total_variation.ThreadPoolExecutor
        with patch.object(total_variation, "ThreadPoolExecutor", side_effect=pool) as made:
            total_variation.denoised(np.ones((64, 4, 4), np.float32), 1.0)
        return made.call_args.args[0]

    found = []
    cluster.each(threads, range(2), CancelToken(), lambda item, count: found.append(count) or ())
    # Two processes share the cores.
    assert found == [max(1, usable_cores() // 2)] * 2


def test_an_error_on_a_worker_comes_back_with_its_remedy(cluster):
    def fail(number):
        if number == 3:
            raise ScanError("The scan is damaged.", "Import it again.")

    with pytest.raises(ScanError) as caught:
        cluster.each(fail, range(6), CancelToken())
    assert (caught.value.sentence, caught.value.remedy) == (
        "The scan is damaged.",
        "Import it again.",
    )


def test_a_lost_scheduler_is_told_and_the_run_goes_on_without_it(
    tmp_path, scan_path, settings, expected
):
    scheduler, worker, address = start_cluster(tmp_path)
    try:
        with connect(address) as cluster, pytest.raises(RunError) as caught:
            while not cluster.worker_addresses():
                time.sleep(0.1)
            progress = CallingProgress(4, scheduler.kill)
            run(tmp_path / "run", scan_path, settings, progress, workers=cluster)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert caught.value.sentence == f"The connection to the cluster at {address} was lost."
    assert "goes on where it stopped" in caught.value.remedy
    np.testing.assert_array_equal(run(tmp_path / "run", scan_path, settings), expected)


def start_cluster(folder: Path) -> tuple[subprocess.Popen, subprocess.Popen, str]:
    """A scheduler and a worker as processes of their own, as on real machines."""

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "DASK_DISTRIBUTED__DIAGNOSTICS__ERDPY": "0"},
        )

    file = folder / "scheduler.json"
    scheduler = start(
        "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard",
        "--scheduler-file", str(file), "--host", "127.0.0.1",
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline and scheduler.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    address = json.loads(file.read_text())["address"]
    worker = start(
        "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"
    )
    return scheduler, worker, address


def test_a_folder_that_workers_do_not_see_is_told(tmp_path, cluster, monkeypatch):
    from particleseg_app.segmentation import cluster_job

    class Elsewhere(type(tmp_path)):
        def touch(self, *arguments):
            pass

    monkeypatch.setattr(cluster_job, "Path", Elsewhere)
    cluster.shared_folder = Elsewhere(tmp_path / "not there")
    try:
        with pytest.raises(RunError, match="does not see the folder") as caught:
            cluster.each(lambda number: None, [1], CancelToken())
    finally:
        cluster.shared_folder = None
    assert "all workers see" in caught.value.remedy


def test_other_versions_are_told_by_name():
    here = versions()
    check_same_versions("The worker tcp://a:1", dict(here), here)
    with pytest.raises(RunError) as caught:
        check_same_versions("The worker tcp://a:1", here | {"numpy": "1.0"}, here)
    assert "The worker tcp://a:1 has numpy 1.0" in caught.value.sentence
    assert "same versions" in caught.value.remedy


def test_a_worker_with_another_version_is_refused(cluster, monkeypatch):
    from particleseg_app.segmentation import cluster_worker

    monkeypatch.setattr(cluster_worker, "__version__", "99.0")
    with pytest.raises(RunError, match=r"has ParticleSeg .*this computer 99\.0"):
        cluster.check_versions()


@pytest.mark.parametrize(
    "address", ["", "local", "local:", "local:0", "local:-1", "8786", "machine:8786", "tcp://x"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(InvalidValueError, match="not the address of a cluster") as caught:
        check_address(address)
    assert "tcp://machine:8786" in caught.value.remedy


def test_no_scheduler_is_told(monkeypatch):
    from particleseg_app.segmentation import cluster

    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises(RunError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        connect("tcp://127.0.0.1:9")


def test_a_killed_worker_is_survived(tmp_path, cluster, scan_path, settings, expected):
    victim = pids(cluster)[0]
    progress = CallingProgress(5, lambda: os.kill(victim, signal.SIGKILL))
    found = run(tmp_path / "run", scan_path, settings, progress, workers=cluster)
    assert victim not in pids(cluster)
    np.testing.assert_array_equal(found, expected)
    assert any("was lost" in note for note in progress.snapshot().messages)


def test_work_that_ends_every_worker_is_given_up(cluster):
    def end(number):
        os._exit(1)

    with pytest.raises(RunError, match="same piece") as caught:
        cluster.each(end, [1], CancelToken())
    assert "memory" in caught.value.remedy
