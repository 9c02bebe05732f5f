"""The command for a lent graphics card: one bad part does not keep the others from running."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.on_a_card import PARTS, Part, run_parts


def test_a_part_that_fails_or_hangs_does_not_stop_the_others(tmp_path: Path) -> None:
    parts = [
        Part("broken", ("no.such.module",), 30),
        Part("slow", ("timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)"), 2),
        Part("good", ("platform",), 30),
    ]
    lines = "\n".join(run_parts(tmp_path / "out", parts, 60))
    assert "| broken | with error 1 |" in lines
    assert "| slow | by its limit |" in lines
    assert "| good | well |" in lines
    assert "No module named" in (tmp_path / "out" / "broken.txt").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "good.txt").read_text(encoding="utf-8").strip()


def test_what_there_is_no_time_for_is_said(tmp_path: Path) -> None:
    assert run_parts(tmp_path, [Part("late", ("platform",), 30)], 0)[-1].startswith(
        "| late | not begun"
    )


def test_every_part_is_a_module_that_is_there() -> None:
    import importlib.util

    for part in PARTS:
        assert importlib.util.find_spec(part.command[0]) is not None
