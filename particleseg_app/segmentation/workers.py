"""Where the pieces of a run are worked on: threads of this process, or a cluster (`cluster`).

The code of a piece does not know which. It takes all it needs from its item and from files in the
run's folder, and leaves its result in such a file; its result must not depend on the order of the
pieces. Then one thread here and many machines end with the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

from particleseg_app.progress import CancelToken

# Called here with an item and its result, as each ends; gives further items that are now due.
Then = Callable[[Any, Any], Iterable[Any]]


def no_more(item: Any, result: Any) -> Iterable[Any]:
    """A `Then` that asks for nothing more."""
    return ()


class Workers(Protocol):
    """Does calls of one function at once, in any order."""

    def each(
        self,
        do: Callable[[Any], Any],
        items: Iterable[Any],
        cancel: CancelToken,
        then: Then = no_more,
        at_once: Callable[[], int] | None = None,
    ) -> None:
        """Call `do(item)` for each item and for those that `then` adds; return when all are done.

        `do` runs in other threads, or in other processes: what it holds is then copied, a cancel
        token and a progress in it are tied to those of this process. `then` runs in this thread.
        `at_once`, called where the work is done, says how many calls fit the memory there.
        Raises the first error of a call, and `Cancelled`.
        """
        ...


@dataclass(frozen=True)
class ThreadWorkers:
    """Threads of this process, at most `threads` at once."""

    threads: int

    def each(
        self,
        do: Callable[[Any], Any],
        items: Iterable[Any],
        cancel: CancelToken,
        then: Then = no_more,
        at_once: Callable[[], int] | None = None,
    ) -> None:
        def one(item: Any) -> Any:
            cancel.check()
            return do(item)

        threads = self.threads if at_once is None else min(self.threads, at_once())
        with ThreadPoolExecutor(max(1, threads)) as pool:
            running: dict[Future[Any], Any] = {pool.submit(one, item): item for item in items}
            try:
                while running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        item = running.pop(future)
                        for further in then(item, future.result()):
                            running[pool.submit(one, further)] = further
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
