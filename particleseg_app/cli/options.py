"""Options that several commands share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from particleseg_app.segmentation.cluster import Cluster


@dataclass
class Verbosity:
    trace: bool = False


verbosity = Verbosity()


def _set_verbose(wanted: bool) -> bool:
    verbosity.trace = verbosity.trace or wanted
    return wanted


Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show the trace of an error.", callback=_set_verbose)
]

ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Work on a Dask cluster: tcp://scheduler:8786, or local:N for N processes here.",
    ),
]


def cluster_workers(address: str | None) -> AbstractContextManager[Cluster | None]:
    """The workers at the address; None, and so this process alone, without one."""
    return nullcontext() if address is None else connect_to_cluster(address)


def connect_to_cluster(address: str) -> Cluster:
    """Connect to a cluster, or start the processes of `local:N`; raises `UserError`."""
    from particleseg_app.segmentation.cluster import connect

    return connect(address)
