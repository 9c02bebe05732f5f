"""One function over many items on the workers of a cluster, whichever of them come and go."""

from __future__ import annotations

import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.errors import RunError
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.workers import Then

if TYPE_CHECKING:
    from distributed import Future

    from particleseg_app.segmentation.cluster import Cluster

# How long a scheduler may be silent, and calls may take to end after a cancel.
SILENCE_S = 30.0
_POLL_S = 0.2
_CREW_POLL_S = 1.0
_MOST_LOSSES = 3


@dataclass
class _Worker:
    """One worker process as this job sees it. `slots` are 0 until it has taken on the job."""

    address: str
    slots: int = 0
    asked: bool = False
    running: set[str] = field(default_factory=set)


@dataclass
class _Call:
    """One item on its way through one worker; `item` is None for taking on the job."""

    worker: str
    future: Future
    item: Any = None
    preparing: bool = False
    steps: int = 0


class ClusterJob:
    """One function over many items on the workers of a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        do: Callable[[Any], Any],
        items: Iterable[Any],
        cancel: CancelToken,
        then: Then,
        at_once: Callable[[], int] | None,
    ) -> None:
        from particleseg_app.segmentation.cluster_worker import packed

        self.cluster = cluster
        self.client = cluster.client
        self.cancel = cancel
        self.then = then
        self.token = uuid.uuid4().hex
        self.payload, self.progress = packed(do, at_once)
        self.waiting = deque(items)
        self.workers: dict[str, _Worker] = {}
        self.calls: dict[str, _Call] = {}
        self.losses: dict[Any, int] = {}
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.crew_known_at = -_CREW_POLL_S
        self.told_of_no_workers = False
        self.shared_file: Path | None = None

    def run(self) -> None:
        from particleseg_app.segmentation.cluster_worker import forget_job, topic

        if not self.waiting:
            return
        if self.cluster.shared_folder is not None:
            self.shared_file = self.cluster.shared_folder / f".cluster-{self.token}.part"
            self.shared_file.touch()
        self.client.subscribe_topic(topic(self.token), self._hear)
        try:
            while self.waiting or any(not call.preparing for call in self.calls.values()):
                self.cancel.check()
                self._look_after_workers()
                self._hand_out()
                self._take_answers()
        except BaseException:
            self._stop()
            raise
        finally:
            if self.shared_file is not None:
                self.shared_file.unlink(missing_ok=True)
            with suppress(Exception):
                if self.cluster.connected:
                    self.client.unsubscribe_topic(topic(self.token))
                    self.client.run(forget_job, self.token, wait=False, on_error="ignore")

    def _look_after_workers(self) -> None:
        """Know who is there; take back what was given to workers that are gone."""
        if not self.cluster.connected:
            raise self.cluster.lost()
        if time.monotonic() - self.crew_known_at < _CREW_POLL_S:
            return
        there = set(self.cluster.worker_addresses())
        self.crew_known_at = time.monotonic()
        for address in there - set(self.workers):
            self.workers[address] = _Worker(address)
        for address in set(self.workers) - there:
            for key in list(self.workers[address].running):
                self._take_back(key)
            del self.workers[address]
        if not there and not self.told_of_no_workers:
            self.progress.note("The cluster has no workers now; the run waits for some.")
        self.told_of_no_workers = not there

    def _hand_out(self) -> None:
        from particleseg_app.segmentation.cluster_worker import prepare, versions, work

        for worker in self.workers.values():
            if not worker.asked and self.waiting:
                worker.asked = True
                start = (self.token, self.payload, self.shared_file, versions())
                self._submit(worker, None, prepare, *start)
        # In turns, so that few items go to many workers.
        free = [worker for worker in self.workers.values() if worker.slots > len(worker.running)]
        while free and self.waiting:
            free.sort(key=lambda worker: len(worker.running) / worker.slots)
            worker = free[0]
            self._submit(worker, self.waiting.popleft(), work, self.token)
            if len(worker.running) >= worker.slots:
                free.remove(worker)

    def _submit(self, worker: _Worker, item: Any, do: Callable[..., Any], *start: Any) -> None:
        key = f"particleseg-{do.__name__}-{uuid.uuid4().hex}"
        preparing = do.__name__ == "prepare"
        arguments = start if preparing else (*start, key, item)
        try:
            future = self.client.submit(
                do, *arguments, key=key, workers=[worker.address], pure=False, retries=0
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise self.cluster.lost() from error
        self.calls[key] = _Call(worker.address, future, item, preparing)
        worker.running.add(key)
        future.add_done_callback(lambda done: self.answers.put(done.key))

    def _take_answers(self) -> None:
        """Wait a little for something to happen, then deal with all that has."""
        try:
            self._take(self.answers.get(timeout=_POLL_S))
            while True:
                self._take(self.answers.get_nowait())
        except queue.Empty:
            pass

    def _take(self, answer: Any) -> None:
        if isinstance(answer, list):
            self._take_report(*answer)
            return
        call = self.calls.get(answer)
        if call is None:
            return
        if not self.cluster.connected:
            raise self.cluster.lost()
        error: BaseException | None = None
        try:
            result = call.future.result(timeout=SILENCE_S)
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt | SystemExit):
                raise
            error = problem
        if error is not None:
            self._take_error(answer, call, error)
            return
        self._end(answer)
        if call.preparing:
            self.workers[call.worker].slots = result
            return
        value, steps = result
        self.progress.advance(steps - call.steps)
        self.losses.pop(call.item, None)
        self.waiting.extend(self.then(call.item, value))

    def _take_report(self, kind: str, key: str | None, value: Any) -> None:
        call = self.calls.get(key or "")
        if kind == "note":
            self.progress.note(value)
        elif call is not None:
            call.steps += value
            self.progress.advance(value)

    def _take_error(self, key: str, call: _Call, error: BaseException) -> None:
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        from particleseg_app.segmentation.cluster_worker import JobMissingError

        if isinstance(error, JobMissingError):
            worker = self.workers.get(call.worker)
            if worker is not None:
                worker.asked, worker.slots = False, 0
            self._take_back(key, counts=False)
        elif isinstance(error, KilledWorker | FutureCancelledError | TimeoutError):
            # The worker is gone with its result; `_look_after_workers` will see that too.
            if not self.cluster.connected:
                raise self.cluster.lost() from error
            self._take_back(key)
        else:
            self._end(key)
            raise error

    def _take_back(self, key: str, counts: bool = True) -> None:
        """Another worker will have to do what this call was about."""
        call = self._end(key)
        with suppress(Exception):
            call.future.cancel()
        if call.preparing:
            worker = self.workers.get(call.worker)
            if worker is not None:
                worker.asked = False
            return
        self.progress.advance(-call.steps)
        self.waiting.appendleft(call.item)
        if not counts:
            return
        self.losses[call.item] = self.losses.get(call.item, 0) + 1
        if self.losses[call.item] >= _MOST_LOSSES:
            raise RunError(
                f"{_MOST_LOSSES} workers ended, one after the other, over the same piece of work.",
                "They may have too little memory: give them more, then start the run again.",
            )
        self.progress.note(f"The worker {call.worker} was lost; another one does its work again.")

    def _end(self, key: str) -> _Call:
        call = self.calls.pop(key)
        worker = self.workers.get(call.worker)
        if worker is not None:
            worker.running.discard(key)
        return call

    def _hear(self, event: tuple[Any, Any]) -> None:
        """Called by Dask, in a thread of its own, with what a call reports."""
        self.answers.put(list(event[1]))

    def _stop(self) -> None:
        """Have all calls end, so that nobody writes into the run's folder any more."""
        from particleseg_app.segmentation.cluster_worker import cancel_job

        if not self.cluster.connected:
            return
        with suppress(Exception):
            self.client.run(cancel_job, self.token, wait=False, on_error="ignore")
            deadline = time.monotonic() + SILENCE_S
            while self.calls and time.monotonic() < deadline:
                with suppress(queue.Empty):
                    answer = self.answers.get(timeout=_POLL_S)
                    if isinstance(answer, str):
                        self.calls.pop(answer, None)
            self.client.cancel([call.future for call in self.calls.values()], force=True)
