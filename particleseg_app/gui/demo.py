"""The main job on the bundled sample, in the true window: `python -m particleseg_app.gui.demo`.

With `--headless` no display is needed: the window is drawn in memory, its picture and the results
are saved, and the program ends.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.progress import CancelToken, Progress, ProgressSnapshot

if TYPE_CHECKING:
    from particleseg_app.gui.main_window import MainWindow
    from particleseg_app.gui.tasks import Task

SAMPLE = Path(__file__).parents[2] / "resources" / "sample" / "ore_sample"
SAMPLE_VOXEL_SIZE_UM = 10.0
SAMPLE_DIAMETER_UM = 180.0
PROJECT_NAME = "Demo"
PICTURE_NAME = "window.png"
PICTURE_SIZE = (1600, 1000)
# Long enough for the slices to be read and drawn after the particles are there.
PICTURE_DELAY_MS = 2500


class Demo:
    """Walks a window through the main job; `end` is called with an exit code, or never."""

    def __init__(self, window: MainWindow, output: Path, headless: bool) -> None:
        self._window = window
        self._output = output
        self._headless = headless
        self._stage = ""
        session = window.session
        # The answers are known, so the wizard is not shown.
        session.scan_imported.disconnect(window.flows.start_wizard)
        session.scan_imported.connect(self._start_run)
        session.run_finished.connect(self._write_results)
        session.failed.connect(self._fail)
        session.jobs.started.connect(self._watch)

    def start(self) -> None:
        from particleseg_app.volumes import inspect_source

        folder = self._output / PROJECT_NAME
        if folder.exists():
            shutil.rmtree(folder)
        self._output.mkdir(parents=True, exist_ok=True)
        if self._window.session.create_project(folder, PROJECT_NAME):
            self._window.session.import_scan(inspect_source(SAMPLE))

    def _start_run(self, scan_id: str) -> None:
        self._window.session.start_run(scan_id, _settings())

    def _write_results(self, run_id: str) -> None:
        from PySide6.QtCore import QTimer

        from particleseg_app.gui.tasks import Task
        from particleseg_app.projects.segmentation_job import write_main_results

        project = self._window.session.project
        assert project is not None

        def write(progress: Progress, cancel: CancelToken) -> Any:
            return write_main_results(project, run_id, progress, cancel)

        def tell(paths: list[Path]) -> None:
            say("The results:")
            for path in paths:
                say(f"  {path}")
            QTimer.singleShot(PICTURE_DELAY_MS, self._window, self._select_one)
            QTimer.singleShot(2 * PICTURE_DELAY_MS, self._window, self._take_picture)

        self._window.session.show_run(run_id)
        self._writing = Task("Writing the results", write)
        self._writing.finished.connect(tell)
        self._writing.failed.connect(self._fail)
        self._writing.start()

    def _select_one(self) -> None:
        """Select the largest whole particle, so that the picture shows how that looks."""
        shown = self._window.session.shown
        if shown is not None and shown.table is not None and len(shown.table):
            whole = shown.table[~shown.table["touches_scan_edge"]]
            table = whole if len(whole) else shown.table
            particle = int(table["label"].iloc[int(table["volume_voxels"].argmax())])
            self._window.project_page.select(particle)
            self._window.project_page.go_to(particle)

    def _take_picture(self) -> None:
        path = self._output / PICTURE_NAME
        self._window.grab().save(str(path))
        say(f"  {path}")
        if self._headless:
            self._window.close()

    def _watch(self, task: Task) -> None:
        task.progressed.connect(self._tell_progress)

    def _tell_progress(self, snapshot: ProgressSnapshot) -> None:
        if snapshot.stage and snapshot.stage != self._stage:
            self._stage = snapshot.stage
            say(f"{snapshot.stage} …")

    def _fail(self, error: BaseException) -> None:
        say(f"The demo stopped: {error}")
        if self._headless:
            from PySide6.QtWidgets import QApplication

            QApplication.exit(1)


def _settings() -> dict[str, Any]:
    from particleseg_app.models import quickest_bundled_model
    from particleseg_app.segmentation import RunSettings

    model = quickest_bundled_model()  # nobody should have to wait long for a first look
    return RunSettings(SAMPLE_VOXEL_SIZE_UM, SAMPLE_DIAMETER_UM, model=model).as_dict()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="particleseg demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--headless", action="store_true", help="without a display")
    options = parser.parse_args(argv)
    if options.headless:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        # The demo must not touch what a user of this computer has set.
        os.environ.setdefault("PARTICLESEG_CONFIG_DIR", str(options.output.resolve() / "settings"))

    from PySide6.QtCore import QTimer

    from particleseg_app.gui.main import make_window
    from particleseg_app.gui.tasks import stop_all_tasks

    app, window = make_window()
    if options.headless:
        window.resize(*PICTURE_SIZE)
    window.show()
    demo = Demo(window, options.output.resolve(), options.headless)
    QTimer.singleShot(0, window, demo.start)
    code = app.exec()
    stop_all_tasks()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
