"""A project: a folder with a small project file, the imported scans, and one folder for each run.

project.json            what there is; written atomically
scans/scan-001/scan.h5  one folder for each scan
runs/run-001/           one folder for each run
.lock                   who has the project open
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from particleseg_app.durable_files import flush_folder, make_folder
from particleseg_app.errors import ProjectError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.entries import ProjectContent, RunEntry, ScanEntry
from particleseg_app.projects.lock import ProjectLock
from particleseg_app.projects.project_file import (
    PROJECT_FILE,
    cannot_write,
    read_content,
    write_content,
)
from particleseg_app.projects.project_folders import (
    SCAN_FILE,
    check_can_become_project,
    delete_folders,
    importing_folder,
    scan_folder,
    take_over_import,
    tidy_up,
    undo_import,
)
from particleseg_app.projects.review_paths import ReviewPaths, review_paths
from particleseg_app.units import check_voxel_size, diameter_in_voxels
from particleseg_app.volumes import Scan, ScanSource, import_scan, open_scan


class Project:
    """An open project; holds its lock until `close`. A context manager, usable from threads.

    Opened to be read only it holds no lock and shows the project as it was at that moment.
    """

    def __init__(self, folder: Path, content: ProjectContent, lock: ProjectLock | None) -> None:
        """Use `Project.create` or `Project.open` instead. Without a lock it is read only."""
        self.folder = folder
        self._content = content
        self._lock = lock
        self._changing = threading.RLock()
        self._closed = False

    @staticmethod
    def create(folder: Path, name: str | None = None) -> Project:
        """Make a new project in an empty or missing folder; raise `ProjectError` otherwise."""
        folder = Path(folder).absolute()
        check_can_become_project(folder)
        content = ProjectContent(name=_clean_name(name or folder.name), created_at=_now())
        try:
            make_folder(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
        lock = ProjectLock(folder)
        lock.acquire()
        try:
            write_content(folder, content)
        except BaseException:
            lock.release()
            raise
        return Project(folder, content, lock)

    @staticmethod
    def open(folder: Path, *, read_only: bool = False) -> Project:
        """Open a project folder (or its `project.json`) and lock it.

        Raises `ProjectError` when it is no project, damaged, from a newer version, open elsewhere
        (`ProjectLockedError`) or may not be written to (`ProjectNotWritableError`). What an
        interrupted import or removal left behind is tidied up. With
        `read_only` nothing is locked or written, so that it may be open elsewhere; what would
        change the project raises `ProjectError`.
        """
        folder = Path(folder).absolute()
        if folder.name == PROJECT_FILE:
            folder = folder.parent
        content = read_content(folder)  # before a lock file is put into what is no project
        if read_only:
            return Project(folder, content, None)
        lock = ProjectLock(folder)
        lock.acquire()
        try:
            project = Project(folder, read_content(folder), lock)
            tidy_up(folder, (entry.id for entry in project.scans))
            project._delete_what_is_gone()
            return project
        except BaseException:
            lock.release()
            raise

    @property
    def read_only(self) -> bool:
        return self._lock is None

    @property
    def name(self) -> str:
        return self._content.name

    @property
    def created_at(self) -> str:
        return self._content.created_at

    @property
    def scans(self) -> tuple[ScanEntry, ...]:
        return self._content.scans

    @property
    def runs(self) -> tuple[RunEntry, ...]:
        return self._content.runs

    def scan(self, scan_id: str) -> ScanEntry:
        for entry in self.scans:
            if entry.id == scan_id:
                return entry
        raise _missing(f"The project {self.name} has no scan {scan_id}.", self.scans)

    def run(self, run_id: str) -> RunEntry:
        for entry in self.runs:
            if entry.id == run_id:
                return entry
        raise _missing(f"The project {self.name} has no run {run_id}.", self.runs)

    def add_scan(
        self,
        source: ScanSource,
        progress: Progress,
        cancel: CancelToken,
        *,
        memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    ) -> ScanEntry:
        """Import a checked source as a new scan of this project.

        It is called as the source says, with a number where another scan is called so already.
        Raises `ScanError` for a bad source or a full disk and `Cancelled`; the project is then as
        it was before.
        """
        with self._changing:
            number = self._content.next_scan
            self._save(replace(self._content, next_scan=number + 1))
        scan_id = f"scan-{number:03d}"
        # Imported beside its place; moved there once the project file names it, so that whatever
        # moment the power goes, opening the project can finish or undo the import.
        importing = importing_folder(self.folder, scan_id)
        try:
            import_scan(source, importing / SCAN_FILE, progress, cancel, memory_limit_bytes)
            cancel.check()
            # The scan must be found wherever the project file says that it is.
            flush_folder(importing.parent)
            flush_folder(self.folder)
            with self._changing:
                entry = ScanEntry(
                    id=scan_id,
                    name=_free_name(source.name, {scan.name for scan in self.scans}),
                    shape=source.shape,
                    dtype=source.dtype.name,
                    voxel_size_um=None,
                    particle_diameter_um=None,
                    proposed_voxel_size_um=source.proposed_voxel_size_um,
                    voxel_size_origin=source.voxel_size_origin,
                    source=str(source.place),
                    imported_at=_now(),
                    remarks=source.remarks,
                    source_state=source.state,
                )
                self._save(replace(self._content, scans=(*self.scans, entry)))
        except BaseException:
            undo_import(self.folder, scan_id)
            raise
        take_over_import(self.folder, scan_id)
        return entry

    def set_scan_answers(
        self,
        scan_id: str,
        voxel_size_um: float | None = None,
        particle_diameter_um: float | None = None,
    ) -> ScanEntry:
        """Record voxel size and particle diameter (µm) of a scan; None leaves what is there.

        Raises `InvalidValueError` for sizes that are not possible.
        """
        with self._changing:
            entry = self.scan(scan_id)
            if voxel_size_um is not None:
                entry = replace(entry, voxel_size_um=check_voxel_size(voxel_size_um))
            if particle_diameter_um is not None:
                entry = replace(entry, particle_diameter_um=float(particle_diameter_um))
                diameter_in_voxels(particle_diameter_um, entry.voxel_size_um or 1.0)
            self._replace_scan(entry)
            return entry

    def rename_scan(self, scan_id: str, name: str) -> ScanEntry:
        with self._changing:
            entry = replace(self.scan(scan_id), name=_clean_name(name))
            self._replace_scan(entry)
            return entry

    def scan_folder(self, scan_id: str) -> Path:
        return scan_folder(self.folder, scan_id)

    def open_scan(self, scan_id: str, cache_bytes: int | None = None) -> Scan:
        """Open the grey values of a scan; raise `ScanError` when they are missing or damaged."""
        return open_scan(self.scan_folder(self.scan(scan_id).id) / SCAN_FILE, cache_bytes)

    def remove_scan(self, scan_id: str, *, with_runs: bool = False) -> None:
        """Remove a scan; its runs too if `with_runs`, else `ProjectError` while it has any."""
        with self._changing:
            entry = self.scan(scan_id)
            runs = [run for run in self.runs if run.scan_id == scan_id]
            if runs and not with_runs:
                raise ProjectError(
                    f"The scan {entry.name} is used by {len(runs)} runs.", "Remove the runs first."
                )
            gone = (f"scans/{scan_id}", *(f"runs/{run.id}" for run in runs))
            scans = tuple(s for s in self.scans if s.id != scan_id)
            kept = tuple(r for r in self.runs if r.scan_id != scan_id)
            self._save(
                replace(
                    self._content,
                    scans=scans,
                    runs=kept,
                    to_delete=(*self._content.to_delete, *gone),
                )
            )
            self._delete_what_is_gone()

    def new_run(self, scan_id: str, settings: dict[str, Any], name: str = "") -> RunEntry:
        """Record a new run of a scan and make its folder. `settings` must be plain JSON values."""
        with self._changing:
            self.scan(scan_id)
            number = self._content.next_run
            entry = RunEntry(
                id=f"run-{number:03d}",
                scan_id=scan_id,
                name=_clean_name(name or f"Run {number}"),
                created_at=_now(),
                settings=json.loads(json.dumps(settings)),
            )
            runs = (*self.runs, entry)
            self._save(replace(self._content, runs=runs, next_run=number + 1))
            self.run_folder(entry.id)
            return entry

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run; it is made when it is missing, unless the project is read only."""
        folder = self.folder / "runs" / self.run(run_id).id
        if self.read_only:
            return folder
        try:
            make_folder(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
        return folder

    def review_paths(self, run_id: str) -> ReviewPaths:
        """Where the journal of mends and the other files of a run's review lie."""
        return review_paths(self.run_folder(run_id))

    def rename_run(self, run_id: str, name: str) -> RunEntry:
        with self._changing:
            return self._replace_run(replace(self.run(run_id), name=_clean_name(name)))

    def set_run_device(self, run_id: str, device: str) -> RunEntry:
        """Let a run go on on another device, which its particles do not depend on."""
        with self._changing:
            run = self.run(run_id)
            return self._replace_run(replace(run, settings={**run.settings, "device": device}))

    def record_file_suffix(self, run_id: str, suffix: str) -> None:
        """Note what the names of a run's files in the project's folder end in."""
        with self._changing:
            self._replace_run(replace(self.run(run_id), file_suffix=suffix))

    def remove_run(self, run_id: str) -> None:
        """Take a run out of the project, then delete its folder."""
        with self._changing:
            self.run(run_id)
            self._save(
                replace(
                    self._content,
                    runs=tuple(r for r in self.runs if r.id != run_id),
                    to_delete=(*self._content.to_delete, f"runs/{run_id}"),
                )
            )
            self._delete_what_is_gone()

    def rename(self, name: str) -> None:
        """Give the project another name; its folder stays where it is."""
        with self._changing:
            self._save(replace(self._content, name=_clean_name(name)))

    def close(self) -> None:
        """Release the lock. The project cannot be changed afterwards. May be called twice."""
        with self._changing:
            if not self._closed:
                self._closed = True
                if self._lock is not None:
                    self._lock.release()

    def check_writable(self) -> None:
        """Raise `ProjectError` when the project is closed or was opened to be read only."""
        if self._closed:
            raise ProjectError(f"The project {self.name} is closed.", "Open it again.")
        if self.read_only:
            raise ProjectError(
                f"The project {self.name} was opened to be read only and cannot be changed.",
                "Open it for changes.",
            )

    def _replace_run(self, entry: RunEntry) -> RunEntry:
        runs = tuple(entry if r.id == entry.id else r for r in self.runs)
        self._save(replace(self._content, runs=runs))
        return entry

    def _replace_scan(self, entry: ScanEntry) -> None:
        scans = tuple(entry if s.id == entry.id else s for s in self.scans)
        self._save(replace(self._content, scans=scans))

    def _save(self, content: ProjectContent) -> None:
        self.check_writable()
        write_content(self.folder, content)
        self._content = content

    def _delete_what_is_gone(self) -> None:
        """Delete the folders of removed scans and runs; what resists is tried at the next open."""
        if not self._content.to_delete:
            return
        still_there = delete_folders(self.folder, self._content.to_delete)
        self._save(replace(self._content, to_delete=still_there))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _missing(sentence: str, entries: Sequence[ScanEntry | RunEntry]) -> ProjectError:
    there = ", ".join(entry.id for entry in entries)
    return ProjectError(sentence, f"It has {there}." if there else "It has none.")


def _free_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where a scan of the project is called so already."""
    names = (name if n == 1 else f"{name} ({n})" for n in count(1))
    return next(free for free in names if free not in taken)


def _clean_name(name: str) -> str:
    cleaned = " ".join(str(name).split())[:200]
    if not cleaned:
        raise ProjectError("A name cannot be empty.", "Enter a name.")
    return cleaned


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
