"""Size distributions of particles as process engineers read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from particleseg_app.particles.surface import equivalent_diameter

if TYPE_CHECKING:
    import pandas as pd

Weighting = Literal["volume", "number"]

# Bins a decade: the preferred-number series of sieves (R5 to R80), so that limits are the sizes
# that a process engineer knows: 10, 12.6, 15.8, 20, 25, 31.6, 40, 50, 63, 79, 100 µm.
_BINS_PER_DECADE = (5, 10, 20, 40, 80)


@dataclass(frozen=True, eq=False)
class SizeDistribution:
    """Distribution over the equivalent diameter, weighted by volume or by number.

    `diameters_um` (n,) ascending, each once; `cumulative` (n,) is the share (0 to 1) held by
    particles of at most that diameter, 1 at the end. `d10`, `d50`, `p80` and `d90` are diameters
    in µm below which 10, 50, 80 and 90 % lie. `bin_edges_um` (m + 1,) is evenly spaced in the
    logarithm; `bin_shares` (m,) sums to 1, a bin holding its lower edge but not its upper one.
    """

    weighting: Weighting
    particle_count: int
    diameters_um: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    d10: float
    d50: float
    p80: float
    d90: float
    bin_edges_um: NDArray[np.float64]
    bin_shares: NDArray[np.float64]


def diameter_at(
    share: float, diameters_um: NDArray[np.float64], cumulative: NDArray[np.float64]
) -> float:
    """Diameter where the cumulative curve reaches `share`.

    Linear between the points of the curve; the smallest diameter where `share` is below the
    curve's first point.
    """
    return float(np.interp(share, cumulative, diameters_um))


def size_distribution(
    table: pd.DataFrame, weighting: Weighting = "volume"
) -> SizeDistribution | None:
    """Size distribution of the particles in `table`, or None when it has no particles."""
    if weighting not in ("volume", "number"):
        raise ValueError(f"unknown weighting {weighting!r}")
    volumes = table["volume_um3"].to_numpy(dtype=np.float64)
    if volumes.size == 0:
        return None
    # Each volume's diameter is computed once: equal volumes have exactly equal diameters. Volumes
    # that differ by rounding alone can have one diameter, too, and are then one point.
    distinct, members = np.unique(volumes, return_counts=True)
    diameters, of_diameter = np.unique(equivalent_diameter(distinct), return_inverse=True)
    weights = np.bincount(
        of_diameter, members * (distinct if weighting == "volume" else 1.0), diameters.size
    )
    shares = weights / weights.sum()
    cumulative = np.cumsum(shares)
    cumulative /= cumulative[-1]
    edges = _bin_edges(diameters, int(volumes.size))
    bins = np.searchsorted(edges, diameters, side="right") - 1
    bin_shares = np.zeros(edges.size - 1)
    np.add.at(bin_shares, bins, shares)
    d10, d50, p80, d90 = (
        diameter_at(share, diameters, cumulative) for share in (0.1, 0.5, 0.8, 0.9)
    )
    return SizeDistribution(
        weighting=weighting,
        particle_count=int(volumes.size),
        diameters_um=diameters,
        cumulative=cumulative,
        d10=d10,
        d50=d50,
        p80=p80,
        d90=d90,
        bin_edges_um=edges,
        bin_shares=bin_shares,
    )


def _bin_edges(diameters: NDArray[np.float64], particle_count: int) -> NDArray[np.float64]:
    """Edges around all `diameters`, about 2 n^(1/3) bins (at most 40) for n particles."""
    wanted = min(40.0, 2.0 * math.cbrt(particle_count))
    decades = math.log10(diameters[-1] / diameters[0])
    per_decade = min(_BINS_PER_DECADE, key=lambda n: abs(decades * n - wanted))
    first = math.floor(math.log10(diameters[0]) * per_decade)
    last = math.floor(math.log10(diameters[-1]) * per_decade) + 1
    # Rounding may put a diameter that is an edge itself just outside.
    edges: NDArray[np.float64] = 10.0 ** (np.arange(first - 1, last + 2) / per_decade)
    start = int(np.searchsorted(edges, diameters[0], side="right")) - 1
    stop = int(np.searchsorted(edges, diameters[-1], side="right"))
    return edges[start : stop + 1]
