"""What a run will cost, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particleseg_app.cli.progress_display import duration

if TYPE_CHECKING:
    from particleseg_app.segmentation import CostEstimate


def cost_lines(cost: CostEstimate, voxel_size_um: float) -> list[str]:
    """The estimate as the window shows it; `voxel_size_um` is that of the scan."""
    lines = ["What the run will cost, measured just now on this computer:"]
    if cost.tiles:
        factor = cost.scale_factor
        word = "enlarged" if factor > 1.005 else "reduced" if factor < 0.995 else "kept as it is"
        z, y, x = cost.working_shape
        tiles = str(cost.tiles)
        if cost.empty_tiles:
            tiles += f", about {cost.empty_tiles} of them empty"
        lines += [
            f"  scale: {factor:.2f} ×, {word}",
            f"  size: {x} × {y} × {z} voxels (across, down, slices)",
            f"  tiles: {tiles}",
        ]
    if cost.rings is not None:
        lines.append(
            f"  rings: ring artefacts (the strongest has {100 * cost.rings.strongest:.0f} % of "
            "what particles stand out by); they are taken off"
        )
    if cost.evening is not None:
        lines.append(
            "  slices: of uneven brightness (by "
            f"{100 * cost.evening.unevenness:.0f} % of what particles stand out by); they are "
            "evened out"
        )
    if cost.denoising is not None:
        from particleseg_app.segmentation.denoised_scan import smallest_diameter

        lines.append(
            f"  noise: strong (particles stand out by {cost.denoising.contrast_to_noise:.1f} times "
            "the noise); the scan is denoised,"
        )
        smallest = smallest_diameter(cost.denoising, voxel_size_um)
        lines.append(f"    particles below about {smallest} are left out")
    time = "unknown" if cost.seconds is None else f"about {duration(cost.seconds)}"
    return [
        *lines,
        f"  time: {time}, without import and files",
        f"  disk: {_gigabytes(cost.disk_bytes)} at most",
        f"  memory: {_gigabytes(cost.memory_bytes)} at most",
        f"  runs on: {cost.device_title}",
        "The same command without --estimate begins it.",
    ]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB" if count < 1e10 else f"{count / 1e9:.0f} GB"
