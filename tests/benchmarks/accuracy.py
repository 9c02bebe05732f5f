"""How well particles are found and separated, on labelled scans that no training scan came from.

    python -m tests.benchmarks.accuracy [--write] [--cases NAME …] [--methods NAME …]
    python -m tests.benchmarks.accuracy --misjudged | --sizes

Prints one table: the default model beside other bundled models, ThreshWater tuned on the reference
of each scan, and a slice-wise 2D U-Net (trained first where that has not been done). `--write`
replaces table and pictures in docs/accuracy.md. `--misjudged` tells the default model a diameter
that is 1.5 times too large and too small; `--sizes` gives it particles of 8 to 150 voxels.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from particleseg_app.models.model_card import CARD_NAME
from tests.benchmarks.accuracy_cases import CASES, MakeCase, chosen_cases
from tests.benchmarks.accuracy_checks import misjudged_table, sizes_table
from tests.benchmarks.accuracy_methods import (
    Method,
    Outcome,
    Workplace,
    network_method,
    other_bundled_models,
    otsu_method,
    outcome_of,
    slice_method,
    threshwater_method,
)
from tests.benchmarks.accuracy_pictures import case_picture
from tests.benchmarks.accuracy_table import (
    Results,
    case_table,
    figures_text,
    mean_table,
    target_list,
)
from tests.benchmarks.slice_network import find_slice_network, model_folder
from tests.benchmarks.train_slice_network import train_slice_network
from tests.independent_scans import LabelledScan

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
PICTURES = DOCUMENT.parent / "pictures" / "accuracy"


def chosen_methods(names: list[str] | None, model: str, preset: str) -> list[Method]:
    """The methods asked for, ours first; trains the 2D network when it is missing."""
    others = other_bundled_models()
    names = names or ["default", *others, "threshwater", "slices"]
    methods = []
    for name in names:
        if name == "threshwater":
            methods.append(threshwater_method())
        elif name == "otsu":
            methods.append(otsu_method())
        elif name == "slices":
            if find_slice_network() is None:
                print(
                    "The slice-wise 2D U-Net has not been trained on this machine yet; it is "
                    "trained now (about 15 minutes, once). --methods without “slices” skips it.",
                    flush=True,
                )
                train_slice_network()
            methods.append(slice_method())
        else:
            methods.append(network_method(model if name == "default" else name, preset))
    return methods


class _LazyPlace:
    """A workplace that is made only when a method really has to run."""

    def __init__(self, case: LabelledScan, folder: str) -> None:
        self._case, self._folder = case, Path(folder)
        self._place: Workplace | None = None

    def __call__(self) -> Workplace:
        self._place = self._place or Workplace(self._case, self._folder)
        return self._place


def measure(cases: dict[str, MakeCase], methods: list[Method], pictures: Path | None) -> Results:
    """Run every method on every case, printing as it goes."""
    results = Results(methods, {}, {}, {}, [])
    for key, make in cases.items():
        began = time.monotonic()
        case = make()
        if case is None:
            print(f"Skipped: {key}, its data is not beside the repository.", flush=True)
            results.skipped.append(key)
            continue
        made_s = time.monotonic() - began
        found: dict[str, Outcome] = {}
        with tempfile.TemporaryDirectory() as folder:
            place = _LazyPlace(case, folder)
            for method in methods:
                found[method.name] = outcome_of(method, case, place)
                figures = found[method.name].figures
                print(
                    f"| {case.name} | {int(figures['reference_count'])} | {method.title} | "
                    f"{figures_text(figures)} |  ({figures['seconds']:.0f} s)",
                    flush=True,
                )
        results.outcomes[key] = found
        results.titles[key], results.about[key] = case.name, case.about
        if pictures is not None:
            panels = [(method.title, found[method.name]) for method in methods]
            case_picture(pictures / f"{key}.jpg", case, panels)
        print(f"  made in {made_s:.0f} s, all in {time.monotonic() - began:.0f} s", flush=True)
    return results


def measured_on() -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"Measured {today}, {os.cpu_count()} cores ({platform.machine()}), no graphics card."


def slice_network_note() -> str:
    """How long the 2D network was trained, from its card."""
    facts = json.loads((model_folder() / CARD_NAME).read_text(encoding="utf-8"))["training"]
    return (
        f"The 2D U-Net was trained for {facts['steps']} steps of 16 slices "
        f"({facts['core_minutes']:g} minutes of one core) on {facts['scenes']} scenes."
    )


def replace_section(name: str, lines: list[str]) -> None:
    """Replace what stands between the marks of a section in docs/accuracy.md."""
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.split(start)[0], text.split(end)[1]
    body = "\n".join(lines)
    DOCUMENT.write_text(f"{before}{start}\n{body}\n{end}{after}", encoding="utf-8")


def picture_lines(results: Results) -> list[str]:
    lines = []
    for key, title in results.titles.items():
        about = f": {results.about[key]}" if results.about[key] else ""
        link = f"![{title}](pictures/accuracy/{key}.jpg)"
        lines += [f"**{title}**{about}.", "", link, ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="default", help="name or folder")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="parts of names; all without")
    parser.add_argument("--methods", nargs="+", metavar="NAME",
                        help="default, threshwater, slices, otsu, or a model")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--misjudged", action="store_true", help="diameter × 1.5 and ÷ 1.5")
    parser.add_argument("--sizes", action="store_true", help="particles of 8 to 150 voxels")
    parser.add_argument("--write", action="store_true", help="into docs/accuracy.md")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures, without --write")
    options = parser.parse_args()
    if options.list:
        print("\n".join(CASES))
        return
    try:
        cases = chosen_cases(options.cases)
    except ValueError as error:
        parser.error(str(error))
    if options.misjudged or options.sizes:
        for name, wanted in (("misjudged", options.misjudged), ("sizes", options.sizes)):
            if not wanted:
                continue
            table = misjudged_table if name == "misjudged" else sizes_table
            lines = [*table(cases, options.model, options.preset), "", measured_on()]
            print("\n" + "\n".join(lines))
            if options.write:
                replace_section(name, lines)
        return
    if options.write and (options.cases or options.methods):
        parser.error("--write needs all cases and methods.")
    methods = chosen_methods(options.methods, options.model, options.preset)
    results = measure(cases, methods, PICTURES if options.write else options.pictures)
    if not results.outcomes:
        return
    notes = [f"Skipped, data absent: {', '.join(results.skipped)}."] if results.skipped else []
    if any(method.name == "slices" for method in methods):
        notes.append(slice_network_note())
    lines = [
        *mean_table(results), "", *target_list(results), "", *case_table(results), "",
        *notes, measured_on(),
    ]  # fmt: skip
    print("\n" + "\n".join(lines))
    if options.write:
        replace_section("table", lines)
        replace_section("pictures", picture_lines(results))


if __name__ == "__main__":
    main()
