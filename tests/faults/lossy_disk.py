"""A disk that loses, at a power cut, what was never flushed: the worst that a file system may do.

In the process under test `DiskLog` notes what happens to the entries of folders (new folders,
renames, removals) and which folders and files were flushed. After the cut `lose` takes back a
random part of what no flush had made durable. An entry is durable once its folder was flushed
after it; the content of a file, once the file was.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any


class DiskLog:
    """Notes, in `log`, what this process does below `root`; keeps what it removes in `kept`."""

    def __init__(self, root: str, log: str, kept: str) -> None:
        self.root = root
        self.kept = Path(kept)
        self.file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.lock = threading.RLock()
        self.count = 0

    def note(self, kind: str, path: str, **more: Any) -> None:
        os.write(self.file, (json.dumps({"kind": kind, "path": path, **more}) + "\n").encode())

    def keep(self, path: str) -> str | None:
        """A second name for a file that is about to go, None where there is none."""
        self.count += 1
        kept = self.kept / f"{os.getpid()}_{self.count}"
        try:
            os.link(path, kept)
        except OSError:
            return None
        return str(kept)

    def install(self) -> None:
        mkdir, replace, rename = os.mkdir, os.replace, os.rename
        unlink, fsync = os.unlink, os.fsync

        def inside(path: Any, folder: Any = None) -> str | None:
            path = os.fspath(path)
            if folder is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)  # noqa: PTH115, PTH118
            path = os.path.abspath(path)  # noqa: PTH100
            return path if path.startswith(self.root) else None

        def making(path: Any, *rest: Any, **options: Any) -> None:
            with self.lock:
                mkdir(path, *rest, **options)
                if (place := inside(path)) is not None:
                    self.note("mkdir", place)

        def moving(really: Any) -> Any:
            def move(source: Any, target: Any, **options: Any) -> None:
                place = inside(target)
                with self.lock:
                    kept = None if place is None else self.keep(place)
                    really(source, target, **options)
                    if place is not None:
                        self.note("move", place, source=inside(source), kept=kept)

            return move

        def removing(path: Any, *, dir_fd: Any = None) -> None:
            place = inside(path, dir_fd)
            with self.lock:
                kept = None if place is None else self.keep(place)
                unlink(path, dir_fd=dir_fd)
                if place is not None:
                    self.note("unlink", place, kept=kept)

        def flushing(descriptor: int) -> None:
            fsync(descriptor)
            if (place := inside(Path(f"/proc/self/fd/{descriptor}").readlink())) is not None:
                self.note("flush", place)

        os.mkdir, os.replace, os.rename = making, moving(replace), moving(rename)
        os.unlink = os.remove = removing
        os.fsync = flushing


def lose(log: Path, rng: random.Random) -> int:
    """Undo a random part of what was not durable when the process ended; how much that was.

    Raises `AssertionError` when a file took its final name before its content was flushed.
    """
    events = [json.loads(line) for line in log.read_text().splitlines()]
    at_risk: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    flushed: set[str] = set()
    for number, event in enumerate(events):
        path = event["path"]
        if event["kind"] == "flush":
            flushed.add(path)
            for place in [p for p in at_risk if str(Path(p).parent) == path]:
                del at_risk[place]
            continue
        if event["kind"] == "move" and not Path(path).is_dir() and event["source"] is not None:
            assert event["source"] in flushed, f"{path} took its name before it was flushed"
        at_risk[path].append((number, event))
    undo = []
    for changes in at_risk.values():
        # What a folder is told of one name stays in order.
        undo += changes[rng.randint(0, len(changes)) :]
    for _, event in sorted(undo, key=lambda change: change[0], reverse=True):
        _take_back(event)
    return len(undo)


def _take_back(event: dict[str, Any]) -> None:
    path = Path(event["path"])
    if event["kind"] == "mkdir":
        shutil.rmtree(path, ignore_errors=True)
    elif event["kind"] == "move" and path.is_dir():
        path.rename(event["source"])
    elif path.parent.is_dir():
        path.unlink(missing_ok=True)
        if event["kept"] is not None:
            os.link(event["kept"], path)
