"""Whatever stops an import, nothing half-made stays, and the next import works."""

from __future__ import annotations

import errno
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

from particleseg_app.errors import Cancelled, ScanError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from particleseg_app.volumes import scan_import as scan_import_module
from tests.volumes.sources import grey_values, write_slices


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, grey_values((90, 60, 70), "uint16"))
    return path


def test_cancelled_before_it_begins(stack: Path, tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        import_scan(inspect_source(stack), tmp_path / "out" / "scan.h5", Progress(), cancel)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cancelled_in_the_middle(tmp_path: Path, compression: str | None) -> None:
    folder = write_slices(
        tmp_path / "rec", grey_values((90, 60, 70), "uint16"), compression=compression
    )
    cancel = CancelToken()

    class StopAtSlice70(Progress):
        def advance(self, steps: int = 1) -> None:
            super().advance(steps)
            if self.snapshot().done >= 70:
                cancel.cancel()

    with pytest.raises(Cancelled):
        import_scan(inspect_source(folder), tmp_path / "out" / "s.h5", StopAtSlice70(), cancel)
    assert list((tmp_path / "out").iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name.startswith(("slab", "slices"))]


def test_no_space_is_noticed_before_and_during(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = inspect_source(stack), tmp_path / "out" / "scan.h5"
    with monkeypatch.context() as patched:
        full = type("Usage", (), {"free": 1000})
        patched.setattr(scan_import_module.shutil, "disk_usage", lambda _folder: full)
        with pytest.raises(ScanError, match="disk space") as caught:
            import_scan(source, destination, Progress(), CancelToken())
        assert caught.value.remedy
    assert list(destination.parent.iterdir()) == []

    def disk_full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scan_import_module, "_write_slab", disk_full)
    with pytest.raises(ScanError, match="no space left"):
        import_scan(source, destination, Progress(), CancelToken())
    assert list(destination.parent.iterdir()) == []


def test_folder_that_may_not_be_written(stack: Path, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with pytest.raises(ScanError, match="cannot be written"):
        import_scan(inspect_source(stack), blocker / "scan.h5", Progress(), CancelToken())


_SLOW_IMPORT = """
import sys, time
from pathlib import Path
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import import_scan, inspect_source

class Slow(Progress):
    def advance(self, steps=1):
        super().advance(steps)
        if self.snapshot().done == 80:
            print("in the middle", flush=True)
            time.sleep(60)

import_scan(inspect_source(Path(sys.argv[1])), Path(sys.argv[2]), Slow(), CancelToken())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_killed_in_the_middle(stack: Path, tmp_path: Path) -> None:
    destination = tmp_path / "out" / "scan.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW_IMPORT, str(stack), str(destination)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"in the middle"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not destination.exists()
    begin = time.monotonic()
    import_scan(inspect_source(stack), destination, Progress(), CancelToken())
    assert time.monotonic() - begin < 60
    assert [p.name for p in destination.parent.iterdir()] == ["scan.h5"]
    with open_scan(destination) as scan:
        expected = tifffile.imread(stack)
        np.testing.assert_array_equal(scan.read_slice(0, 85), expected[85])
