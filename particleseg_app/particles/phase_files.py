"""The phases of a run on disk: `phases.json` and, named by it, the shares of every particle.

The shares are those of the particles as segmented; whoever shows mended particles counts those
again. `phases.json` takes its place last, so it always names a whole file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app import __version__
from particleseg_app.durable_files import part_file, write_json
from particleseg_app.errors import InvalidValueError, ProjectError
from particleseg_app.particles.interior_histogram import InteriorHistogram
from particleseg_app.particles.phase_counting import ENOUGH_VOXELS
from particleseg_app.particles.phases import Phases, with_phases

if TYPE_CHECKING:
    import pandas as pd

PHASES_FILE = "phases.json"
FORMAT_VERSION = 1
_FORMAT = "particleseg phases"
_SHARES = "phase_shares-{}.parquet"
COUNTED = (
    "Voxels at least 2.5 voxels inside the particle; where these are fewer than "
    f"{ENOUGH_VOXELS}, at least 1.5 voxels; where these are too few as well, all. By the mean grey "
    "value of a voxel and its 26 neighbours, without other particles and, inside, without the rim."
)


@dataclass(frozen=True)
class StoredPhases:
    """The phases of a run, the histogram they were chosen on, and the file of the shares."""

    phases: Phases
    histogram: InteriorHistogram
    shares_path: Path

    def table_with_phases(self, table: pd.DataFrame) -> pd.DataFrame:
        """The particle table as segmented, with the columns of the phases.

        Raises `ProjectError` when the shares are missing, damaged or those of other particles.
        """
        import pandas as pd
        import pyarrow as pa

        try:
            stored = pd.read_parquet(self.shares_path)
            if not np.array_equal(stored["label"].to_numpy(), table["label"].to_numpy()):
                raise ValueError("it belongs to other particles")
            names = [f"phase_{number + 1}" for number in range(self.phases.count)]
            shares = stored[names].to_numpy(np.float64)
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise _damaged(self.shares_path.with_name(PHASES_FILE), error) from error
        return with_phases(table, shares, self.phases.names)


def load_phases(folder: Path) -> StoredPhases | None:
    """The phases of the run in `folder`, None without any; `ProjectError` when damaged or newer."""
    path = folder / PHASES_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != _FORMAT:
            raise ValueError("it is something else")
        newer = int(value["format_version"]) > FORMAT_VERSION
        if not newer:
            return _from_json(value, folder)
    except FileNotFoundError:
        return None
    except (
        OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, InvalidValueError
    ) as error:  # fmt: skip
        raise _damaged(path, error) from error
    raise ProjectError(
        f"The phases {path} were written by a newer version of the program.",
        "Install the newest version.",
    )


def save_phases(
    folder: Path,
    phases: Phases,
    histogram: InteriorHistogram,
    label: np.ndarray,
    shares: np.ndarray,
) -> None:
    """Keep phases with the run in `folder`, in place of earlier ones.

    `label` (n,) are the particles as segmented, `shares` (n, phases) belong to them.
    """
    import pandas as pd

    path = folder / _shares_name(phases)
    columns = {f"phase_{number + 1}": shares[:, number] for number in range(phases.count)}
    table = pd.DataFrame({"label": np.asarray(label, np.int64), **columns})
    with part_file(path) as part:
        table.to_parquet(part, index=False, compression="zstd")
    write_json(folder / PHASES_FILE, _to_json(phases, histogram))
    _remove_shares(folder, keep=path.name)


def rename_phases(folder: Path, stored: StoredPhases, names: tuple[str, ...]) -> None:
    """Give stored phases other names; raises `InvalidValueError` for impossible ones."""
    phases = Phases(names, stored.phases.thresholds)
    write_json(folder / PHASES_FILE, _to_json(phases, stored.histogram))


def remove_phases(folder: Path) -> None:
    """Take the phases of a run away again; nothing happens without any."""
    (folder / PHASES_FILE).unlink(missing_ok=True)
    _remove_shares(folder)


def _remove_shares(folder: Path, keep: str = "") -> None:
    for path in folder.glob(_SHARES.format("*")):
        if path.name != keep:
            path.unlink(missing_ok=True)


def _shares_name(phases: Phases) -> str:
    """A name of its own for each choice of thresholds."""
    digest = hashlib.sha256(json.dumps(phases.thresholds).encode()).hexdigest()
    return _SHARES.format(digest[:12])


def _to_json(phases: Phases, histogram: InteriorHistogram) -> dict[str, Any]:
    edges = histogram.edges
    return {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "names": list(phases.names),
        "thresholds": list(phases.thresholds),
        "counted": COUNTED,
        "shares": _shares_name(phases),
        "histogram": {
            "first_edge": float(edges[0]),
            "bin_width": float(edges[1] - edges[0]),
            "blur": float(histogram.blur),
            "counts": [int(count) for count in histogram.counts],
        },
    }


def _from_json(value: dict[str, Any], folder: Path) -> StoredPhases:
    phases = Phases(
        tuple(str(name) for name in value["names"]),
        tuple(float(threshold) for threshold in value["thresholds"]),
    )
    about = value["histogram"]
    counts = np.array([int(count) for count in about["counts"]], np.int64)
    edges = float(about["first_edge"]) + float(about["bin_width"]) * np.arange(counts.size + 1)
    # Never a path from the file, which could point outside the folder.
    histogram = InteriorHistogram(counts, edges, float(about["blur"]))
    return StoredPhases(phases, histogram, folder / _shares_name(phases))


def _damaged(path: Path, error: Exception) -> ProjectError:
    return ProjectError(
        f"The phases of this run cannot be read ({error}).",
        f"Delete the file {path} and look for the phases again.",
    )
