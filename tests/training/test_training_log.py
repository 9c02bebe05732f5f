"""The log of a training: a table and a picture that follow the checkpoint."""

from __future__ import annotations

import csv
from pathlib import Path

from particleseg_app.training.training_log import CURVE, LOSSES, TrainingLog


def rows(folder: Path) -> list[list[str]]:
    with open(folder / LOSSES, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_losses_become_a_table_and_a_picture(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    log.line("hello")
    assert "  hello\n" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    log.write()
    assert not (tmp_path / LOSSES).exists()  # nothing to show yet
    for step, loss in ((25, 1.5), (50, 1.25)):
        log.loss(step, loss, 1e-3, step / 60)
    log.validation(50, 0.75, 1.0)
    log.write()
    assert rows(tmp_path) == [
        ["step", "loss", "learning rate", "validation", "minutes"],
        ["25", "1.50000", "1.000e-03", "", "0.42"],
        ["50", "1.25000", "1.000e-03", "", "0.83"],
        ["50", "", "", "0.75000", "1.00"],
    ]
    picture = (tmp_path / CURVE).read_text(encoding="utf-8")
    assert picture.rstrip().endswith("</svg>")
    without = tmp_path / "plain"
    without.mkdir()
    log = TrainingLog(without)
    log.loss(25, 1.5, 1e-3, 1.0)
    log.write()
    # The held-back scores have a curve and an axis of their own.
    assert picture.count("line2d") > (without / CURVE).read_text(encoding="utf-8").count("line2d")


def test_going_on_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    for step in (25, 50, 75):
        log.loss(step, 1.0, 1e-3, 1.0)
    log.write()
    resumed = TrainingLog(tmp_path, step=50)
    resumed.loss(75, 2.0, 1e-3, 1.0)
    resumed.write()
    assert [row[0] for row in rows(tmp_path)[1:]] == ["25", "50", "75"]
    assert rows(tmp_path)[3][1] == "2.00000"


def test_a_damaged_table_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / LOSSES).write_bytes(b"step,loss\nx,\xff\n")
    log = TrainingLog(tmp_path, step=10)
    log.loss(25, 1.0, 1e-3, 1.0)
    log.write()
    assert len(rows(tmp_path)) == 2
