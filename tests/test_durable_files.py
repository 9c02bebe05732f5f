"""A file that has its name is whole, whenever its writer dies."""

import errno
import json
import subprocess
import sys
import time

import pytest

from particleseg_app.durable_files import (
    disk_is_full,
    part_file,
    part_folder,
    remove_part_files,
    write_json,
)

WRITER = """
import sys
from pathlib import Path
from particleseg_app.durable_files import write_json
number = 0
while True:
    number += 1
    write_json(Path(sys.argv[1]), {"number": number, "filling": "x" * 200_000})
"""


def test_a_killed_writer_leaves_the_old_or_the_new_content(tmp_path):
    path = tmp_path / "project.json"
    seen = set()
    for pause in (0.0, 0.013, 0.021, 0.034, 0.055):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", WRITER, path])
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(pause)
        process.kill()
        process.wait()
        content = json.loads(path.read_text())
        assert len(content["filling"]) == 200_000
        seen.add(content["number"])
    assert max(seen) > 1


def test_an_error_keeps_the_old_content_and_leaves_no_part(tmp_path):
    path = tmp_path / "kept.json"
    write_json(path, {"old": True})
    with pytest.raises(RuntimeError), part_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


def test_parts_of_killed_writers_are_removed(tmp_path):
    (tmp_path / "labels.h5.part").write_text("half")
    (tmp_path / "labels.h5").write_text("whole")
    remove_part_files(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.h5"]


def test_json_is_readable_by_people(tmp_path):
    write_json(tmp_path / "a.json", {"size": "10 µm"})
    assert "µm" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "any words"), True),
        (OSError(errno.EDQUOT, "any words"), True),
        (RuntimeError("can't write data (No space left on device)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("something else"), False),
    ],
)
def test_a_full_disk_is_known_by_number_or_text(error: Exception, full: bool) -> None:
    assert disk_is_full(error) is full


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "scan"
    (tmp_path / "scan.part").mkdir()
    (tmp_path / "scan.part" / "left").write_text("by a killed writer")
    with pytest.raises(RuntimeError), part_folder(folder) as part:
        (part / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with part_folder(folder) as part:
        (part / "a").write_text("whole")
        assert not folder.exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "scan",
        "scan/a",
    ]
