"""How well particles are found and separated, on labelled scans that no training scan came from.

    python -m tests.benchmarks.accuracy [--model NAME_OR_FOLDER] [--preset PRESET] [--write]

Prints one table: the network beside ThreshWater, once with Otsu's threshold and once with the
threshold and erosion that suit each scan best (which needs the reference, so no user has it).
`--write` replaces the table in docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.evaluation import Score, evaluate
from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.units import Box
from particleseg_app.volumes import (
    import_scan,
    inspect_source,
    open_labels,
    open_scan,
    read_label_file,
)
from tests.independent_scans import ALL, LabelledScan

HERE = Path(__file__).resolve()
VOXEL_SIZE_UM = 10.0
DOCUMENT = HERE.parents[2] / "docs" / "accuracy.md"
SAMPLE = HERE.parents[2] / "resources" / "sample"
START, END = "<!-- table: start -->", "<!-- table: end -->"


def bundled_sample() -> LabelledScan:
    """The sample that the demo uses."""
    grey = tifffile.imread(sorted((SAMPLE / "ore_sample").glob("*.tif")))
    return LabelledScan(
        "bundled sample", grey, read_label_file(SAMPLE / "ore_sample_labels.tif"), 18
    )


def scans() -> Iterator[LabelledScan]:
    yield bundled_sample()
    for make in ALL:
        yield make()


class Workplace:
    """A scan on disk, ready to be segmented again and again."""

    def __init__(self, case: LabelledScan, folder: Path) -> None:
        self.case, self.folder, self.runs = case, folder, 0
        tifffile.imwrite(folder / "scan.tif", case.grey)
        source = inspect_source(folder / "scan.tif")
        import_scan(source, folder / "scan.h5", Progress(), CancelToken())

    def score(self, settings: RunSettings) -> Score:
        self.runs += 1
        with open_scan(self.folder / "scan.h5") as scan:
            run = self.folder / f"run{self.runs}"
            result = segment(run, scan, settings, Progress(), CancelToken())
        with open_labels(result.labels_path) as labels:
            return evaluate(self.case.labels, labels.read(Box.whole(labels.shape)))

    def settings(self, **choices: object) -> RunSettings:
        diameter = self.case.diameter_voxels * VOXEL_SIZE_UM
        return RunSettings(VOXEL_SIZE_UM, diameter, **choices)  # type: ignore[arg-type]

    def best_threshwater(self) -> Score:
        """ThreshWater at its best: eight thresholds between the two grey levels × two erosions."""
        foreground = np.median(self.case.grey[self.case.labels > 0])
        background = np.median(self.case.grey[self.case.labels == 0])
        thresholds = background + (foreground - background) * np.linspace(0.2, 0.8, 8)
        choices = [
            self.settings(method="threshwater", threshold=float(threshold), erosion_radius=erosion)
            for threshold, erosion in itertools.product(thresholds, (2, 3))
        ]
        scores = [self.score(settings) for settings in choices]
        return max(scores, key=lambda score: score.f1_instance)


def row(case: str, method: str, score: Score) -> str:
    values = (
        f"{score.f1:.3f} | {score.f1_match:.3f} | {score.f1_instance:.3f} | "
        f"{score.merger_ratio:.3f} | {score.splitter_ratio:.3f}"
    )
    return f"| {case} | {score.reference_count} | {method} | {values} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="default")
    parser.add_argument("--preset", default="standard")
    parser.add_argument(
        "--write", action="store_true", help="replace the table in docs/accuracy.md"
    )
    options = parser.parse_args()
    card = find_model(options.model).card
    lines = [
        "| scan | particles | method | F1 | F1_match | F1_instance | merger | splitter |",
        "|---|---|---|---|---|---|---|---|",
    ]
    network = f"{card.name} {card.version}, {options.preset}"
    collected: dict[str, list[Score]] = {}
    for case in scans():
        with tempfile.TemporaryDirectory() as folder:
            place = Workplace(case, Path(folder))
            methods = {
                network: place.score(place.settings(model=options.model, preset=options.preset)),
                "ThreshWater, Otsu": place.score(place.settings(method="threshwater")),
                "ThreshWater, tuned on the reference": place.best_threshwater(),
            }
        for method, score in methods.items():
            lines.append(row(case.name, method, score))
            print(lines[-1], flush=True)
            collected.setdefault(method, []).append(score)
    for method, scores in collected.items():
        mean = {
            name: np.mean([getattr(score, name) for score in scores])
            for name in ("f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio")
        }
        values = " | ".join(f"**{value:.3f}**" for value in mean.values())
        count = sum(score.reference_count for score in scores)
        lines.append(f"| **mean** | {count} | {method} | {values} |")
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines += ["", f"Measured {today}, {os.cpu_count()} cores ({platform.machine()}), no GPU."]
    print("\n" + "\n".join(lines))
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        before, after = text.split(START)[0], text.split(END)[1]
        table = "\n".join(lines)
        DOCUMENT.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
