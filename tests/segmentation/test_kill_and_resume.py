"""A process killed without warning while it separates particles; the next one ends its work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.segmentation.border_core import border_core_to_particles
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.units import Box
from particleseg_app.volumes.labels import open_labels
from tests.segmentation.class_volumes import Classes, blob_classes

BLOCK = (20, 24, 24)

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from tests.segmentation.class_volumes import Classes

folder = Path(sys.argv[1])
volume = Classes(np.load(folder / "classes.npy"))
particles_from_classes(volume, volume.shape, 1.0, folder / "work", folder / "labels.h5", 0.0,
                       Progress(), CancelToken(), block_shape=(20, 24, 24))
"""


def start_and_kill_after(folder: Path, kind: str, pieces: int) -> None:
    """Start the work in a process of its own; kill it once `pieces` pieces of a kind are there."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=root)
    deadline = time.monotonic() + 120
    while len(list((folder / "work").glob(f"{kind}_*.block"))) < pieces:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == (-signal.SIGKILL if sys.platform != "win32" else 1)


@pytest.mark.parametrize("stages", [[("cores", 5), ("grown", 9)], [("cores", 30), ("coreless", 2)]])
def test_killed_twice_and_resumed_gives_the_same(
    stages: list[tuple[str, int]], tmp_path: Path
) -> None:
    classes = blob_classes((100, 72, 72), 3, 1.5, 0.55, 0.3)
    np.save(tmp_path / "classes.npy", classes)
    for kind, pieces in stages:
        start_and_kill_after(tmp_path, kind, pieces)
    assert not (tmp_path / "labels.h5").exists()
    volume = Classes(classes)
    particles_from_classes(
        volume,
        volume.shape,
        1.0,
        tmp_path / "work",
        tmp_path / "labels.h5",
        0.0,
        Progress(),
        CancelToken(),
        block_shape=BLOCK,
    )
    assert volume.reads <= 40, "finished pieces are kept"
    with open_labels(tmp_path / "labels.h5") as labels:
        found = labels.read(Box.whole(labels.shape))
    np.testing.assert_array_equal(found, border_core_to_particles(classes))
    assert not (tmp_path / "work").exists()


def test_killed_while_the_finished_pieces_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = blob_classes((60, 48, 48), 3, 1.5, 0.55, 0.3)
    volume = Classes(classes)

    def convert() -> np.ndarray:
        particles_from_classes(
            volume,
            volume.shape,
            1.0,
            tmp_path / "work",
            tmp_path / "labels.h5",
            0.0,
            Progress(),
            CancelToken(),
            block_shape=BLOCK,
        )
        with open_labels(tmp_path / "labels.h5") as labels:
            return labels.read(Box.whole(labels.shape))

    def remove_some_and_end(work: BlockWork) -> None:
        if not (tmp_path / "labels.h5").exists():
            return
        for path in sorted(work.folder.glob("grown_*"))[::2]:
            path.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(BlockWork, "remove_pieces", remove_some_and_end)
        convert()
    assert list((tmp_path / "work").glob("numbers_*")), "the removal was interrupted"
    np.testing.assert_array_equal(convert(), border_core_to_particles(classes))
