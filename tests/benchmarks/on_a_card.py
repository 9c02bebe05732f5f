"""All that has to be tried and measured on a graphics card, one after the other, in one command.

    python -m tests.benchmarks.on_a_card FOLDER [--only NAME …] [--minutes 12]

A card is often lent for minutes: each part has a limit of its own, what it prints lies in FOLDER as
soon as it is printed, and a part that fails or runs too long does not keep the others from running.
The shortest come first. Prints one table at the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    """A module to run (`python -m`), and the seconds after which it is ended."""

    name: str
    command: tuple[str, ...]
    limit_s: int


PARTS = (
    Part("tests", ("pytest", "-q", "-m", "gpu", "tests"), 150),
    Part("share", ("tests.benchmarks.graphics_card_share", "--variants"), 150),
    Part("training", ("tests.benchmarks.training_step",), 90),
    # So large because particleseg3d's way from classes to particles, which is what a card does not
    # hasten, grows with the square of the volume.
    Part(
        "versus",
        (
            *("tests.benchmarks.versus_particleseg3d", "--device", "cuda", "--size", "352"),
            *("--diameter", "32", "--stated", "60", "--folds", "5", "--batch", "6"),
        ),
        420,
    ),
)


def run_parts(folder: Path, parts: list[Part], seconds: float) -> list[str]:
    """Run parts until `seconds` are over; the lines of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["| part | ended | seconds | printed |", "|---|---|---|---|"]
    end = time.monotonic() + seconds
    for part in parts:
        began = time.monotonic()
        left = min(part.limit_s, end - began)
        printed = folder / f"{part.name}.txt"
        if left <= 0:
            lines.append(f"| {part.name} | not begun | 0 | |")
            continue
        with printed.open("w", encoding="utf-8") as file:
            try:
                code = subprocess.run(
                    [sys.executable, "-u", "-m", *part.command],
                    cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=left, check=False,
                ).returncode  # fmt: skip
                ended = "well" if code == 0 else f"with error {code}"
            except subprocess.TimeoutExpired:
                ended = "by its limit"
        lines.append(f"| {part.name} | {ended} | {time.monotonic() - began:.0f} | {printed.name} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="for what is printed")
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--minutes", type=float, default=12.0, help="for all of it")
    options = parser.parse_args()
    chosen = [part for part in PARTS if part.name in options.only]
    print("\n" + "\n".join(run_parts(options.folder, chosen, 60 * options.minutes)))


if __name__ == "__main__":
    main()
