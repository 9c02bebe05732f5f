"""The pieces of a run on many machines: an existing Dask cluster, or processes on this computer.

Dask carries calls to its workers and tells which of them are there. Who does what is decided here:
each worker gets as many items as it may do at once, and when one is lost its items go to others.
Results are files in the run's folder, which all workers see under the same path; so the run can be
continued with other workers, or without any. `docs/cluster.md` says what a cluster needs.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from particleseg_app.cores import usable_cores
from particleseg_app.errors import InvalidValueError, RunError
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.cluster_job import SILENCE_S, ClusterJob
from particleseg_app.segmentation.workers import Then, no_more

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_TIMEOUT_S = 20.0
_CONTINUE = "Start the run again, with the cluster or without it; it goes on where it stopped."


def check_address(address: str) -> str:
    """Return the address of a cluster, or raise `InvalidValueError` that says what is possible."""
    local = re.fullmatch(r"local:(\d{1,4})", address)
    if (local and int(local[1]) > 0) or re.fullmatch(r"(tcp|tls|ucx|ws|wss)://\S+:\d+/?", address):
        return address
    raise InvalidValueError(
        f"“{address}” is not the address of a cluster.",
        "Give that of a Dask scheduler, as in tcp://machine:8786, or local:4 for 4 processes here.",
    )


def connect(address: str) -> Cluster:
    """Connect to the Dask scheduler at `address`, or start `N` processes for `local:N`.

    Raises `InvalidValueError` and `RunError`: no such scheduler, other versions of the program.
    """
    check_address(address)
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError(
            "The packages for clusters are not installed.",
            'Install them with: pip install "particleseg[cluster]".',
        ) from error
    # Its remarks on lost workers and connections are told in the run's own words.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    local = None
    try:
        if address.startswith("local:"):
            local = _start_processes(int(address.removeprefix("local:")))
        client = Client(
            address if local is None else local,
            timeout=CONNECT_TIMEOUT_S,
            set_as_default=False,
            name="particleseg",
        )
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        if local is not None:
            local.close()
        if address.startswith("local:"):
            raise RunError(
                f"The worker processes could not be started ({error}).",
                "Try fewer of them, or do without --cluster.",
            ) from error
        raise RunError(
            f"There is no Dask scheduler at {address} that can be reached.",
            "Check the address, that the scheduler runs, and that its Dask is the same version.",
        ) from error
    cluster = Cluster(address, client, local)
    try:
        cluster.check_versions()
    except BaseException:
        cluster.close()
        raise
    return cluster


def _start_processes(count: int) -> LocalCluster:
    """Worker processes on this computer that share its cores."""
    from distributed import LocalCluster

    in_main_thread = threading.current_thread() is threading.main_thread()
    # A Ctrl-C in the terminal reaches all processes: only the one that leads is to hear it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    try:
        return LocalCluster(
            n_workers=count,
            threads_per_worker=max(1, usable_cores() // count),
            processes=True,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            scheduler_kwargs={"dashboard": False},
        )
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


class Cluster:
    """Workers of a Dask cluster, as `workers.Workers`. A context manager.

    `shared_folder`, once set, is a folder that every worker must see.
    """

    def __init__(self, address: str, client: Client, local: Any = None) -> None:
        """Use `connect` instead."""
        self.address = address
        self.client = client
        self.shared_folder: Path | None = None
        self._local = local

    def each(
        self,
        do: Callable[[Any], Any],
        items: Iterable[Any],
        cancel: CancelToken,
        then: Then = no_more,
        at_once: Callable[[], int] | None = None,
    ) -> None:
        """See `workers.Workers.each`. Raises `RunError` when the scheduler is lost."""
        ClusterJob(self, do, items, cancel, then, at_once).run()

    def worker_addresses(self) -> list[str]:
        """The workers that are there now. Raises `RunError` when the scheduler is lost."""
        scheduler = self.client.scheduler
        if scheduler is None:
            raise self.lost()
        try:
            found = self.client.sync(scheduler.ncores, workers=None, callback_timeout=SILENCE_S)
        except (OSError, TimeoutError, ValueError, RuntimeError, AttributeError) as error:
            raise self.lost() from error
        return list(found)

    @property
    def connected(self) -> bool:
        return bool(self.client.status == "running")

    def lost(self) -> RunError:
        return RunError(f"The connection to the cluster at {self.address} was lost.", _CONTINUE)

    def check_versions(self) -> None:
        """Raise `RunError` for a scheduler or worker with another program or other packages."""
        from particleseg_app.segmentation.cluster_worker import (
            SAME_EVERYWHERE,
            check_same_versions,
            versions,
        )

        here = versions()
        try:
            found = {"scheduler": self.client.run_on_scheduler(versions)}
        except Exception as error:  # whatever another installation makes of the call
            found = {"scheduler": error}
        found |= self.client.run(versions, on_error="return")
        for place, there in found.items():
            who = "The cluster's scheduler" if place == "scheduler" else f"The worker {place}"
            if not isinstance(there, dict):
                raise RunError(f"{who} cannot run ParticleSeg ({there}).", SAME_EVERYWHERE)
            check_same_versions(who, there, here)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """What is sent to a worker holds None in its place: workers have no workers."""
        return type(None), ()

    def close(self) -> None:
        """Leave the cluster; processes that `local:N` started end. May be called twice."""
        with suppress(Exception):
            self.client.close(timeout=5)
        if self._local is not None:
            with suppress(Exception):
                self._local.close(timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
