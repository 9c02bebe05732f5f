"""A very small scan, a cheap model, and the server of `faulty_process`, for the tests beside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from particleseg_app.durable_files import write_json
from particleseg_app.segmentation.core_unions import RULE_NAME
from particleseg_app.units import Box
from particleseg_app.volumes import open_labels
from tests.models.tiny_model import uniting_what_is_nearly_core, write_tiny_model

SHAPE = (40, 52, 60)


def write_scan(folder: Path) -> Path:
    """Balls with noise, as TIFF slices."""
    folder.mkdir()
    grid = np.ogrid[[slice(n) for n in SHAPE]]
    grey = np.random.default_rng(7).normal(10000, 3000, SHAPE)
    for centre in [(10, 12, 12), (10, 26, 12), (25, 30, 40), (25, 30, 51), (30, 10, 30)]:
        inside = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= 40
        grey[inside] += 20000
    for z, page in enumerate(np.clip(grey, 0, 65535).astype(np.uint16)):
        tifffile.imwrite(folder / f"slice_{z:03d}.tif", page)
    return folder


@dataclass
class Server:
    """The process that forks an attempt for each request."""

    folder: Path
    process: subprocess.Popen = field(init=False)

    def __post_init__(self) -> None:
        self.scan = write_scan(self.folder / "scan")
        # One network finds parts that touch, some of which are united, and a large particle that it
        # completes; the other one specks without a core.
        self.models = {
            "nnunet": write_tiny_model(self.folder / "parts", seed=6).folder,
            "specks": write_tiny_model(self.folder / "specks", seed=0).folder,
        }
        for model in self.models.values():
            write_json(model / RULE_NAME, uniting_what_is_nearly_core(2, -0.5).as_dict())
        self.log = self.folder / "log.txt"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.faulty_process"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PARTICLESEG_DATA_DIR": str(self.folder / "data"),
                "PARTICLESEG_CONFIG_DIR": str(self.folder / "config"),
            },
        )
        self._answer()

    def arguments(self, project: Path, method: str = "nnunet") -> list[str]:
        return [
            "segment", str(self.scan), "--voxel-size-um", "10",
            "--particle-diameter-um", "80" if method == "nnunet" else "120",
            "--out", str(project), "--device", "cpu",
            *(
                ["--method", method]
                if method not in self.models
                else ["--method", "nnunet", "--model", str(self.models[method])]
            ),
        ]  # fmt: skip

    def attempt(self, project: Path, method: str = "nnunet", **request: Any) -> dict[str, Any]:
        """Run the command once; the answer holds exit code, log, and what harm was done where.

        `method` is that of the run or one of `models`.
        """
        request |= {"arguments": self.arguments(project, method), "log": str(self.log)}
        request["project"] = str(project)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        answer["log"] = self.log.read_text()
        return answer

    def attempt_again(self, project: Path, method: str, **request: Any) -> dict[str, Any]:
        """As `attempt`, a few seconds after one that was killed.

        One that was killed between making the project's lock and writing into it leaves it empty:
        it is respected for ten seconds, which are not waited for here.
        """
        lock = project / ".lock"
        if lock.exists() and not lock.stat().st_size:
            os.utime(lock, (time.time() - 20,) * 2)
        return self.attempt(project, method, **request)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Results:
    """What a finished project holds, for comparison with another."""

    labels: np.ndarray
    csv: bytes
    tiff: np.ndarray
    contacts_of_scan: list[float] | None
    large_particles_completed: int | None

    @staticmethod
    def of(project: Path) -> Results:
        (path,) = project.glob("runs/*/labels.h5")
        with open_labels(path) as labels:
            values = labels.read(Box.whole(labels.shape))
        summary = json.loads((path.parent / "summary.json").read_bytes())
        return Results(
            values,
            (project / "particles.csv").read_bytes(),
            tifffile.imread(project / "labels.tif"),
            summary.get("contacts_of_scan"),
            summary.get("large_particles_completed"),
        )

    def assert_same(self, other: Results) -> None:
        np.testing.assert_array_equal(self.labels, other.labels)
        np.testing.assert_array_equal(self.tiff, other.tiff)
        assert self.csv == other.csv
        assert self.contacts_of_scan == other.contacts_of_scan
        assert self.large_particles_completed == other.large_particles_completed
