"""How well particles are found and separated, on labelled scans that no training scan came from.

    python -m tests.benchmarks.accuracy [--write] [--cases NAME …] [--methods NAME …]
    python -m tests.benchmarks.accuracy --other-seeds | --misjudged | --sizes | --noise |
                                        --conditions | --simple [--write] [--model NAME]

Prints one table: the default model beside other bundled models, ThreshWater tuned on the reference
of each scan, and a slice-wise 2D U-Net (trained first where that has not been done). `--write`
replaces table and pictures in docs/accuracy.md; with `--methods` the others keep the figures that
accuracy_record.json has of them, as long as neither the scans nor the method have changed since,
and the table says when each was measured. A measurement that was stopped goes on from the cache.
`--other-seeds` measures a model on scans made as the simulated ones are, from three other seeds
each; `--misjudged` tells a model a diameter that is 1.5 times too large and too small; `--sizes`
gives it particles of 8 to 150 voxels; `--noise` one scene with more and more noise and blur;
`--conditions` one with few particles, much air, metal, cupping and others; `--simple` measures it
on scans of a third, simple generator.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from particleseg_app.models import choose_device, find_model
from particleseg_app.models.model_card import CARD_NAME
from tests.benchmarks.accuracy_cases import CASES, MakeCase, chosen_cases, scan_version
from tests.benchmarks.accuracy_checks import (
    conditions_table,
    misjudged_table,
    noise_table,
    other_seeds_table,
    simple_table,
    sizes_table,
    very_different_table,
)
from tests.benchmarks.accuracy_methods import (
    FIGURES,
    LazyPlace,
    Method,
    Outcome,
    Workplace,
    network_method,
    other_bundled_models,
    otsu_method,
    outcome_of,
    slice_method,
    threshwater_method,
    version_of,
)
from tests.benchmarks.accuracy_pictures import case_picture, panel_of
from tests.benchmarks.accuracy_record import (
    Measured,
    Record,
    read_record,
    when_measured,
    why_not_kept,
    write_record,
)
from tests.benchmarks.accuracy_table import (
    Results,
    case_table,
    figures_text,
    mean_table,
    target_list,
)
from tests.benchmarks.slice_network import find_slice_network, model_folder
from tests.benchmarks.train_slice_network import train_slice_network

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
PICTURES = DOCUMENT.parent / "pictures" / "accuracy"
PLAIN = ("default", "standard")  # model and preset of the table


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


def measure(
    cases: dict[str, MakeCase],
    methods: list[Method],
    pictures: Path | None,
    kept: dict[str, Measured] | None = None,
    panels: list[str] | None = None,
) -> Results:
    """Run every method on every case, printing as it goes; `kept` ones only appear in the results.

    `panels`: the methods in the present pictures, whose panels are taken over for those kept.
    """
    kept = kept or {}
    shown = in_order([*methods, *(Method(name, one.title, _never) for name, one in kept.items())])
    results = Results(shown, {}, {}, {}, [])
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
            place = LazyPlace(case, Path(folder))
            for method in methods:
                found[method.name] = outcome_of(method, case, place)
                figures = found[method.name].figures
                print(
                    f"| {case.name} | {int(figures['reference_count'])} | {method.title} | "
                    f"{figures_text(figures)} |  ({figures['seconds']:.0f} s)",
                    flush=True,
                )
        nothing = np.zeros(0, np.uint32)
        for name, measured in kept.items():
            found[name] = Outcome(measured.figures[key], nothing, nothing, nothing)
        results.outcomes[key] = found
        results.titles[key], results.about[key] = case.name, case.about
        if pictures is not None:
            places = {name: place for place, name in enumerate(panels or [])}
            drawn: list[tuple[str, Outcome | Image.Image]] = []
            for method in shown:
                if method.name not in kept:
                    drawn.append((method.title, found[method.name]))
                elif method.name in places:
                    earlier = panel_of(PICTURES / f"{key}.jpg", places[method.name])
                    drawn += [] if earlier is None else [("", earlier)]
            case_picture(pictures / f"{key}.jpg", case, drawn)
        print(f"  made in {made_s:.0f} s, all in {time.monotonic() - began:.0f} s", flush=True)
    return results


def _never(place: Workplace) -> Outcome:
    raise AssertionError("a method that is kept does not run")


def in_order(methods: list[Method]) -> list[Method]:
    """The default model, the other models, then the methods they are compared with."""
    last = ["threshwater", "otsu", "slices"]

    def place(method: Method) -> tuple[int, int]:
        known = method.name in last
        return (method.name != "default", 1 + last.index(method.name) if known else 0)

    return sorted(methods, key=place)


def kept_methods(
    cases: dict[str, MakeCase], measured_now: list[Method], record: Record
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Recorded methods that may stand beside those measured now, and the version of each case.

    Says of the others why not.
    """
    scans = {}
    for key, make in cases.items():
        case = make()
        if case is not None:
            scans[key] = scan_version(key, case)
    kept = {}
    for name, measured in record.methods.items():
        if name in {method.name for method in measured_now}:
            continue
        why = why_not_kept(measured, record, scans, version_of(name))
        if why:
            print(f"Left out: {measured.title}, because {why}.", flush=True)
        else:
            print(f"Kept: {measured.title}, measured {measured.date}.", flush=True)
            kept[name] = measured
    return kept, scans


def new_record(
    results: Results, kept: dict[str, Measured], scans: dict[str, str], notes: dict[str, str]
) -> Record:
    """The record of a table: methods measured now and those kept, `notes` of the former."""
    record = Record(scans, {}, [method.name for method in results.methods])
    for method in results.methods:
        if method.name in kept:
            record.methods[method.name] = kept[method.name]
            continue
        figures = {
            key: {
                name: round(found[method.name].figures[name], 6)
                for name in ("reference_count", *FIGURES)
            }
            for key, found in results.outcomes.items()
        }
        record.methods[method.name] = Measured(
            method.title, today(), machine(), method.version, figures, notes.get(method.name, "")
        )
    return record


def today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def machine() -> str:
    device = choose_device("auto")
    card = "no graphics card" if device.id.startswith("cpu") else device.title
    return f"{os.cpu_count()} cores ({platform.machine()}), {card}"


def measured_on(model: str, preset: str) -> str:
    card = find_model(model).card
    way = "" if preset == "standard" else f" and the preset {preset}"
    return f"Measured {today()} with {card.name} {card.version}{way}, {machine()}."


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
    parser.add_argument("--other-seeds", action="store_true", help="three scans of each kind")
    parser.add_argument("--misjudged", action="store_true", help="diameter × 1.5 and ÷ 1.5")
    parser.add_argument("--sizes", action="store_true", help="particles of 8 to 150 voxels")
    parser.add_argument("--very-different", action="store_true", help="9 to 130 voxels in one scan")
    parser.add_argument("--noise", action="store_true", help="more and more noise and blur")
    parser.add_argument("--conditions", action="store_true", help="few particles, metal, …")
    parser.add_argument("--simple", action="store_true", help="scans of a third generator")
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
    checks = {
        "other_seeds": other_seeds_table,
        "misjudged": misjudged_table,
        "sizes": sizes_table,
        "very_different": very_different_table,
        "noise": noise_table,
        "conditions": conditions_table,
        "simple": simple_table,
    }
    asked = {name: table for name, table in checks.items() if getattr(options, name)}
    if asked:
        for name, table in asked.items():
            lines = [
                *table(cases, options.model, options.preset), "",
                measured_on(options.model, options.preset),
            ]  # fmt: skip
            print("\n" + "\n".join(lines))
            if options.write:
                replace_section(name, lines)
        return
    if options.write and (options.cases or (options.model, options.preset) != PLAIN):
        parser.error("--write needs all cases, and the models and the preset of the table.")
    methods = chosen_methods(options.methods, options.model, options.preset)
    with tempfile.TemporaryDirectory() as folder:
        write_table(cases, methods, Path(folder), options)


def write_table(
    cases: dict[str, MakeCase], methods: list[Method], drawn: Path, options: argparse.Namespace
) -> None:
    """Measure, print and, if asked, write table, record and pictures (drawn in a folder first)."""
    record = read_record()
    kept, scans = kept_methods(cases, methods, record) if options.write else ({}, {})
    pictures = drawn if options.write else options.pictures
    results = measure(cases, methods, pictures, kept, record.panels)
    if not results.outcomes:
        return
    notes = {"slices": slice_network_note()} if _has(methods, "slices") else {}
    record = new_record(results, kept, scans, notes)
    measured = record.methods.values()
    lines = [
        *mean_table(results), "", *target_list(results), "", *case_table(results), "",
        *([f"Skipped, data absent: {', '.join(results.skipped)}."] if results.skipped else []),
        *(one.note for one in measured if one.note),
        *when_measured(measured, today()),
    ]  # fmt: skip
    print("\n" + "\n".join(lines))
    if options.write:
        for picture in drawn.iterdir():
            shutil.copy(picture, PICTURES / picture.name)
        replace_section("table", lines)
        replace_section("pictures", picture_lines(results))
        write_record(record)


def _has(methods: list[Method], name: str) -> bool:
    return any(method.name == name for method in methods)


if __name__ == "__main__":
    main()
