"""The log of a training: readable lines, the loss as a table and as a picture."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from particleseg_app.durable_files import part_file

LOG = "log.txt"
LOSSES = "loss.csv"
CURVE = "loss.svg"
COLUMNS = ("step", "loss", "learning rate", "validation", "minutes")


def log_line(folder: Path, text: str, date: bool = False) -> None:
    """Add a line to the log in the work folder of a training, with the time of day."""
    with open(folder / LOG, "a", encoding="utf-8") as file:
        file.write(time.strftime("%Y-%m-%d %H:%M:%S  " if date else "%H:%M:%S  ") + text + "\n")


class TrainingLog:
    """`log.txt`, `loss.csv` and `loss.svg` in the work folder of a training.

    A training that goes on from a checkpoint at `step` forgets the rows it had written after it,
    because those steps are made again.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._folder = folder
        self._rows = [row for row in _read_rows(folder / LOSSES) if int(row[0]) <= step]
        self._written = 0  # rows already in the file

    def line(self, text: str) -> None:
        """One line with the time of day."""
        log_line(self._folder, text)

    def loss(self, step: int, loss: float, rate: float, minutes: float) -> None:
        """A row of the loss curve: mean loss since the last row, and the learning rate."""
        self._rows.append([str(step), f"{loss:.5f}", f"{rate:.3e}", "", f"{minutes:.2f}"])

    def validation(self, step: int, score: float, minutes: float) -> None:
        """A row with the score on held-back data, 0 to 1."""
        self._rows.append([str(step), "", "", f"{score:.5f}", f"{minutes:.2f}"])

    def write(self) -> None:
        """Bring table and picture up to date; nothing happens when there is nothing new."""
        if len(self._rows) == self._written:
            return
        with (
            part_file(self._folder / LOSSES) as part,
            open(part, "w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file).writerows([COLUMNS, *self._rows])
        self._draw()
        self._written = len(self._rows)

    def _draw(self) -> None:
        # The figure without pyplot: a training may run beside a window, in any thread.
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        lines = []
        losses = [(int(row[0]), float(row[1])) for row in self._rows if row[1]]
        scores = [(int(row[0]), float(row[3])) for row in self._rows if row[3]]
        if losses:
            lines += axes.plot(*zip(*losses, strict=True), color="tab:blue", lw=1, label="loss")
        axes.set(xlabel="step", ylabel="loss")
        if scores:
            right = axes.twinx()
            lines += right.plot(
                *zip(*scores, strict=True), "o-", color="tab:green", ms=3, label="held-back Dice"
            )
            right.set_ylabel("Dice on held-back data")
            right.set_ylim(0, 1)
        figure.legend(handles=lines, loc="outside upper center", ncols=2, frameon=False)
        axes.grid(alpha=0.3)
        with part_file(self._folder / CURVE) as part:
            canvas.print_svg(str(part))


def _read_rows(path: Path) -> list[list[str]]:
    """The rows of an earlier attempt; a damaged table is begun anew, it is only shown."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        for row in rows:
            int(row[0])
            [float(value) for value in row[1:] if value]
    except (OSError, ValueError, IndexError, csv.Error):
        return []
    return [row for row in rows if len(row) == len(COLUMNS)]
