"""The number of cores is what this process may use, not what the computer has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from particleseg_app import cores
from particleseg_app.cores import usable_cores

PACKAGE = Path(cores.__file__).parent
HAS_AFFINITY = hasattr(os, "sched_setaffinity")


@pytest.mark.skipif(not HAS_AFFINITY, reason="processes cannot be bound to cores here")
def test_a_process_that_is_bound_to_one_core_takes_one() -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}])\n"
        "from particleseg_app.cores import usable_cores\n"
        "from particleseg_app.memory_limit import pieces_at_once\n"
        "from particleseg_app.segmentation.cores import cores\n"
        "print(usable_cores(), cores(), pieces_at_once(4 * 10**9, 1.0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("50000 100000", 1),
        ("6400000 100000", 8),
        ("0 0", 8),
        ("nonsense", 8),
        (None, 8),
    ],
)
def test_a_container_may_limit_the_time(
    limit: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    if limit is not None:
        file.write_text(f"{limit}\n")
    monkeypatch.setattr(cores, "_CONTAINER_LIMIT", file)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert usable_cores() == expected


def test_systems_without_affinity_have_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cores.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 5)
    monkeypatch.setattr(cores, "_limit_of_container", lambda: 1e9)
    assert usable_cores() == 5
    monkeypatch.setattr(cores.os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_nothing_else_counts_the_cores_of_the_computer() -> None:
    counting = re.compile(r"cpu_count\(|sched_getaffinity\(|ThreadPoolExecutor\((\)|thread_name)")
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if counting.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["cores.py"]
