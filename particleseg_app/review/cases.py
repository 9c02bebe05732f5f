"""A case of the review queue: what may be wrong, how probably, and why; kept as Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from particleseg_app.durable_files import part_file
from particleseg_app.errors import ProjectError
from particleseg_app.review.missed import unpack_region
from particleseg_app.units import Box

KINDS = ("merger", "splitter", "false particle", "missed particle")
FORMAT_VERSION = 2
_KEY = b"particleseg review cases"


@dataclass(frozen=True)
class ReviewCase:
    """One doubtful particle, pair of particles in contact, or body without a label.

    `kind` is "merger" (one label that may be several particles), "splitter" (two labels that may
    be one particle), "false particle" (a label that may be none) or "missed particle" (background
    that may be one: no `labels`, but the voxels of `box` that are proposed, as `pack_region` packs
    them in `region`). `probability` that it is so, calibrated; `weight` what it counts in the
    order: of a merger how many errors it is (m − 1 on average), of a splitter 1, of a false or
    missed particle less. `evidence`: named figures
    (docs/review.md); `text` the telling ones in words. `box` holds the labels with a margin, in
    voxels of the scan; `centre` (z, y, x) is where to look: the neck, the contact or the
    particle's middle. `markers` of a merger: a point in each part it may have, in voxels of the
    scan; empty where none is known. `focus`: the particle at which the case is asked, 0 for none.
    """

    id: str
    kind: str
    labels: tuple[int, ...]
    probability: float
    weight: float
    evidence: dict[str, float] = field(hash=False)
    text: str
    box: Box
    centre: tuple[float, float, float]
    markers: tuple[tuple[float, float, float], ...] = ()
    region: bytes = b""
    focus: int = 0

    @property
    def expected_errors(self) -> float:
        return self.probability * self.weight


def case_id(kind: str, labels: Sequence[int], place: Sequence[float] = ()) -> str:
    """The name of a case that stays the same when the queue is made anew.

    A case without labels is called by its `place` (z, y, x).
    """
    if not labels:
        return f"{kind}:at {','.join(str(round(c)) for c in place)}"
    return f"{kind}:{'+'.join(str(label) for label in sorted(labels))}"


def write_cases(path: Path, cases: Sequence[ReviewCase]) -> None:
    """Write cases as Parquet, whole or not at all, in their order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("id", pa.string()),
            ("kind", pa.string()),
            ("labels", pa.list_(pa.uint32())),
            ("probability", pa.float64()),
            ("weight", pa.float64()),
            ("evidence", pa.string()),
            ("text", pa.string()),
            ("box", pa.list_(pa.int64())),
            ("centre", pa.list_(pa.float64())),
            ("markers", pa.list_(pa.float64())),
            ("region", pa.binary()),
            ("focus", pa.uint32()),
        ],
        metadata={_KEY: str(FORMAT_VERSION).encode()},
    )
    rows = [
        {
            "id": case.id,
            "kind": case.kind,
            "labels": list(case.labels),
            "probability": case.probability,
            "weight": case.weight,
            "evidence": json.dumps({k: round(v, 5) for k, v in case.evidence.items()}),
            "text": case.text,
            "box": [*case.box.start, *case.box.stop],
            "centre": list(case.centre),
            "markers": [coordinate for point in case.markers for coordinate in point],
            "region": case.region,
            "focus": case.focus,
        }
        for case in cases
    ]
    with part_file(Path(path)) as part:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), part)


def read_cases(path: Path) -> list[ReviewCase]:
    """Cases in the order they were written; `ProjectError` when the file is not whole or not one.

    The queue can always be made again, so the remedy is to do that.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        table = pq.read_table(path)
        metadata = table.schema.metadata or {}
        if int(metadata[_KEY]) != FORMAT_VERSION:
            raise ValueError("another version")
        return [_case(row) for row in table.to_pylist()]
    except (
        OSError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        pa.ArrowException,
    ) as error:
        raise ProjectError(
            f"The review queue {path} cannot be read.", "Make the queue again."
        ) from error


def _case(row: dict[str, Any]) -> ReviewCase:
    labels = tuple(int(label) for label in row["labels"])
    z0, y0, x0, z1, y1, x1 = (int(n) for n in row["box"])
    z, y, x = (float(n) for n in row["centre"])
    flat = [float(n) for n in row["markers"]]
    kind, probability, weight = row["kind"], float(row["probability"]), float(row["weight"])
    if kind not in KINDS or row["id"] != case_id(kind, labels, (z, y, x)):
        raise ValueError("not a case")
    box, region = Box((z0, y0, x0), (z1, y1, x1)), bytes(row["region"])
    if (kind == "missed particle") != bool(region) or bool(labels) == bool(region):
        raise ValueError("not a case")
    focus = int(row["focus"])
    if focus and focus not in labels:
        raise ValueError("not a particle of the case")
    if region:
        unpack_region(region, box.shape)
    if not (0 <= probability <= 1 and weight >= 0):
        raise ValueError("not a probability")
    evidence = {str(name): float(value) for name, value in json.loads(row["evidence"]).items()}
    return ReviewCase(
        row["id"],
        kind,
        labels,
        probability,
        weight,
        evidence,
        str(row["text"]),
        box,
        (z, y, x),
        tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)),
        region,
        focus,
    )
