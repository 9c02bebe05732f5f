"""What a terminal and a log file are told about long work."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from particleseg_app.cli import progress_display
from particleseg_app.cli.progress_display import (
    Bar,
    PlainLines,
    ProgressDisplay,
    duration,
    line_for,
)
from particleseg_app.progress import CancelToken, Progress, ProgressSnapshot

SNAPSHOT = ProgressSnapshot("Reading", 12, 48, "tiles", 10.0, 20.0, 130.0, ())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_for_people(seconds, text):
    assert duration(seconds) == text


def test_one_line_says_stage_share_steps_and_time_left():
    assert line_for(SNAPSHOT) == "Reading: 25%, 12 of 48 tiles, 2 min 10 s left"
    unknown = replace(SNAPSHOT, done=0, total=0, remaining_s=None)
    assert line_for(unknown) == "Reading"


def test_plain_lines_are_few_but_remarks_are_never_lost(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_display.time, "monotonic", lambda: now[0])
    lines: list[str] = []
    view = PlainLines(lines.append)
    for second in range(12):
        now[0] = 100.0 + second
        view.show(replace(SNAPSHOT, done=second))
    assert [line.split(",")[1] for line in lines] == [
        " 0 of 48 tiles", " 5 of 48 tiles", " 10 of 48 tiles"
    ]  # fmt: skip
    view.show(replace(SNAPSHOT, messages=("The graphics card is full.",)))
    view.show(replace(SNAPSHOT, messages=("The graphics card is full.", "Smaller tiles.")))
    assert lines[3:] == ["The graphics card is full.", "Smaller tiles."]
    now[0] += 1.5
    view.show(replace(SNAPSHOT, stage="Writing"))
    assert lines[-1].startswith("Writing")


def test_a_bar_on_a_terminal_and_the_stages_above_it(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "dumb")
    bar = Bar()
    bar.show(replace(SNAPSHOT, stage="", total=0, done=0, remaining_s=None))
    bar.show(SNAPSHOT)
    bar.show(replace(SNAPSHOT, stage="Writing", messages=("A [remark].",), done=48))
    bar.close()
    told = capsys.readouterr().err
    assert "✓ Reading (10 s)" in told
    assert "✓ Writing (10 s)" in told
    assert "A [remark]." in told


def test_the_display_ends_with_the_work(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    progress, cancel = Progress(), CancelToken()
    with pytest.raises(ValueError), ProgressDisplay(progress, cancel) as display:
        progress.start("Reading", 2, "tiles")
        progress.note("A remark.")
        raise ValueError
    assert not display._thread.is_alive()
    assert "A remark." in capsys.readouterr().err
