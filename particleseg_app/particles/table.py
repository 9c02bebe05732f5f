"""The particle table: what its columns mean, and how it is kept in a project (Parquet)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from particleseg_app.durable_files import part_file
from particleseg_app.errors import ProjectError

if TYPE_CHECKING:
    import pandas as pd

TABLE_FORMAT_VERSION = 1
_SCHEMA_KEY = b"particleseg"


@dataclass(frozen=True)
class Column:
    """One column of the particle table, in words for people.

    `digits` are the significant digits that a screen shows (files get more).
    """

    name: str
    title: str
    unit: str
    kind: Literal["whole", "real", "yes_no", "name"]
    digits: int
    group: str
    description: str

    def text(self, value: Any) -> str:
        """`value` as a person reads it, without the unit; a dash where there is none."""
        if self.kind == "yes_no":
            return "yes" if value else "no"
        if self.kind == "name":
            return str(value)
        if value is None or not math.isfinite(value):
            return "–"
        if self.kind == "whole":
            return f"{int(value)}"
        if value == 0:
            return "0"
        decimals = self.digits - 1 - math.floor(math.log10(abs(value)))
        return f"{value:.{max(0, decimals)}f}"

    @property
    def heading(self) -> str:
        """Title with its unit, for the head of a table or the axis of a plot."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


COLUMNS: tuple[Column, ...] = (
    Column("label", "Particle", "", "whole", 0, "Particle",
           "Number of the particle, the value of its voxels in the label volume."),
    Column("centroid_z_um", "Centroid z", "µm", "real", 5, "Position",
           "Mean z position of the particle's voxels, from the scan's first corner."),
    Column("centroid_y_um", "Centroid y", "µm", "real", 5, "Position",
           "Mean y position of the particle's voxels, from the scan's first corner."),
    Column("centroid_x_um", "Centroid x", "µm", "real", 5, "Position",
           "Mean x position of the particle's voxels, from the scan's first corner."),
    Column("volume_voxels", "Voxels", "voxels", "whole", 0, "Size",
           "Number of voxels of the particle."),
    Column("volume_um3", "Volume", "µm³", "real", 4, "Size",
           "Number of voxels times the volume of a voxel."),
    Column("equivalent_diameter_um", "Equivalent diameter", "µm", "real", 4, "Size",
           "Diameter of the sphere of the same volume."),
    Column("surface_area_um2", "Surface area", "µm²", "real", 4, "Size",
           "Area of the particle's surface, contacts with other particles and cuts by the "
           "scan's edge included (Crofton's formula in 13 directions)."),
    Column("sphericity", "Sphericity", "", "real", 3, "Shape",
           "Surface of the sphere of the same volume over the particle's surface: 1 for a "
           "sphere, lower for other shapes; may exceed 1 for particles of a few voxels."),
    Column("box_z_min", "Box z first", "voxels", "whole", 0, "Box",
           "First slice of the particle, counted from 0."),
    Column("box_y_min", "Box y first", "voxels", "whole", 0, "Box",
           "First row of the particle, counted from 0."),
    Column("box_x_min", "Box x first", "voxels", "whole", 0, "Box",
           "First column of the particle, counted from 0."),
    Column("box_z_max", "Box z end", "voxels", "whole", 0, "Box",
           "Slice after the particle's last one, counted from 0."),
    Column("box_y_max", "Box y end", "voxels", "whole", 0, "Box",
           "Row after the particle's last one, counted from 0."),
    Column("box_x_max", "Box x end", "voxels", "whole", 0, "Box",
           "Column after the particle's last one, counted from 0."),
    Column("grey_mean", "Mean grey value", "", "real", 5, "Grey value",
           "Mean of the scan's grey values inside the particle."),
    Column("grey_std", "Grey value deviation", "", "real", 4, "Grey value",
           "Standard deviation of the scan's grey values inside the particle."),
    Column("touches_scan_edge", "Touches edge", "", "yes_no", 0, "Edge",
           "Whether the particle touches the outer faces of the scan, or the edge of its field of "
           "view, and so is probably cut."),
)  # fmt: skip

_COLUMNS_BY_NAME = {column.name: column for column in COLUMNS}


def column_named(name: str) -> Column | None:
    """The description of a column of the particle table, or None for an unknown one."""
    return _COLUMNS_BY_NAME.get(name)


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Write the particle table as Parquet, whole or not at all.

    Units and descriptions travel as metadata of the columns, the voxel size (from
    `table.attrs["voxel_size_um"]`) as metadata of the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.Table.from_pandas(table, preserve_index=False)
    fields = []
    for field in content.schema:
        column = column_named(field.name)
        if column is not None:
            field = field.with_metadata(
                {"unit": column.unit, "title": column.title, "description": column.description}
            )
        fields.append(field)
    about = {
        "format_version": TABLE_FORMAT_VERSION,
        "voxel_size_um": table.attrs.get("voxel_size_um"),
    }
    metadata = {**(content.schema.metadata or {}), _SCHEMA_KEY: json.dumps(about).encode()}
    content = content.cast(pa.schema(fields, metadata=metadata))
    with part_file(path) as part:
        pq.write_table(content, part, compression="zstd")


def load_table(path: Path) -> pd.DataFrame:
    """Read a table written by `save_table`; raise `ProjectError` if it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.read_table(path)
        about = json.loads((content.schema.metadata or {})[_SCHEMA_KEY])
        newer = float(about.get("format_version", 0)) > TABLE_FORMAT_VERSION
        voxel_size_um = about.get("voxel_size_um")
        voxel_size_um = None if voxel_size_um is None else float(voxel_size_um)
        missing = {column.name for column in COLUMNS} - set(content.column_names)
        if missing and not newer:
            raise ValueError(f"it has no column {min(missing)}")
    except FileNotFoundError:
        raise ProjectError(
            f"The particle table {path} is not there.", "Segment the scan again."
        ) from None
    except (
        OSError, KeyError, ValueError, TypeError, AttributeError, pa.ArrowException
    ) as error:  # fmt: skip
        raise ProjectError(
            f"The particle table {path} cannot be read ({error}).", "Segment the scan again."
        ) from error
    if newer:
        raise ProjectError(
            f"The particle table {path} was written by a newer version of the program.",
            "Install the newest version.",
        )
    table = content.to_pandas()
    table.attrs["voxel_size_um"] = voxel_size_um
    return table
