"""From the results to the review and back: opens the page, finds the cases, keeps views in line."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog

from particleseg_app.errors import InvalidValueError, UserError
from particleseg_app.gui.review.case_finding import CaseFinding
from particleseg_app.gui.review.controller import ReviewController
from particleseg_app.gui.review.review_page import ReviewPage
from particleseg_app.gui.session import Session
from particleseg_app.gui.settings import settings
from particleseg_app.gui.shown import Shown
from particleseg_app.gui.tasks import Task, when_ended
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, bounding_box

if TYPE_CHECKING:
    import numpy as np

    from particleseg_app.review.cases import ReviewCase
    from particleseg_app.review.error_rates import EstimatedErrorRates, EstimatedRate

logger = logging.getLogger(__name__)

PATCH_FOLDER = "last/patch_folder"
HOPELESS = 0.5  # errors a particle from which on a run is better made anew


class ReviewFlow(QObject):
    """Shows the review page for what the session shows. `page_wanted` with True for the review."""

    page_wanted = Signal(bool)

    def __init__(self, session: Session, page: ReviewPage) -> None:
        super().__init__(page)
        self._session, self._page = session, page
        self._shown: Shown | None = None
        self._ending: Task | None = None  # of a review that was left, while it is at work
        self._compiled = False
        page.left_wanted.connect(self.leave)
        self.finding = CaseFinding(session, self)
        page.queue_wanted.connect(self.finding.start)
        page.patch_wanted.connect(self._choose_patch_folder)
        page.mended.connect(self._on_mended)
        page.failed.connect(session.failed)
        self.finding.found.connect(self._on_cases_found)
        self.finding.changed.connect(lambda: page.set_finding(self.finding.busy, self._searched))
        session.table_changed.connect(self._on_table)

    @property
    def active(self) -> bool:
        return self._page.controller is not None

    def start(self, window: tuple[float, float] | None = None) -> None:
        """Review the run that is shown, from where one left off."""
        if self._ending is not None and self._ending.running:
            when_ended([self._ending], lambda: self.start(window))
            return
        if self._begin(window):
            controller = self._page.controller
            assert controller is not None
            controller.begin()
            if not controller.cases and not self._searched:
                self.finding.start()

    def mend(self, particles: Iterable[int], window: tuple[float, float] | None = None) -> None:
        """Mend particles chosen in the results by hand."""
        wanted = tuple(particles)
        if self._ending is not None and self._ending.running:
            when_ended([self._ending], lambda: self.mend(wanted, window))
            return
        if not wanted or not self._begin(window):
            return
        controller, shown = self._page.controller, self._shown
        assert controller is not None and shown is not None and shown.review is not None
        try:
            box = _box_of(shown, wanted)
        except InvalidValueError as error:
            self.leave()
            self._session.failed.emit(error)
            return
        controller.show_particles(wanted, box)

    def leave(self) -> None:
        """Back to the results; whatever was mended is in the journal already."""
        controller, shown = self._page.controller, self._shown
        if controller is None:
            return
        busy = controller.busy
        self._ending = self._page.end()
        self._shown = None
        if self._ending is not None:
            self._session.hold(self._ending)
        if busy and shown is not None:
            held = [] if self._ending is None else [self._ending]
            when_ended(held, lambda: self._take_up_last_mend(shown))
        self.page_wanted.emit(False)

    def _take_up_last_mend(self, left: Shown) -> None:
        """A mend that was being written when the review was left is in the table, too."""
        shown = self._session.shown
        if shown is None or shown.review is None or shown.review is not left.review:
            return
        from particleseg_app.review.mended_table import changed_labels

        changed = changed_labels(shown.review.labels)
        if changed:
            self._session.mended_table.take_up_mends(changed)

    def save_patch(self, folder: Path) -> Task | None:
        """Save what the page shows, as mended, for training; in the background."""
        shown, controller = self._shown, self._page.controller
        if shown is None or shown.run is None or controller is None:
            return None
        found, scan, labels = controller.neighbourhood, shown.scan, controller.labels
        if found is None:
            return None
        voxel_size = shown.voxel_size_um or 1.0
        diameter = float(shown.run.settings["particle_diameter_um"])
        place = "_".join(str(n) for n in found.box.start)
        name = re.sub(r"[^A-Za-z0-9-]+", "_", f"{shown.entry.name}_{shown.run.id}_{place}")

        def work(progress: Progress, cancel: CancelToken) -> list[Path]:
            from particleseg_app.review.training_patch import save_training_patch

            folder.mkdir(parents=True, exist_ok=True)
            return save_training_patch(
                scan, labels, found.box, voxel_size, diameter, folder, name.strip("_")
            )

        task = Task("Saving a training patch", work)
        task.finished.connect(lambda _paths: self._page.say_saved(f"Saved in {folder}"))
        task.failed.connect(self._session.failed)
        return task.start()

    def _choose_patch_folder(self) -> None:
        last = str(settings().value(PATCH_FOLDER, str(Path.home())))
        chosen = QFileDialog.getExistingDirectory(self._page, "Folder of the patches", last)
        if chosen:
            settings().setValue(PATCH_FOLDER, chosen)
            self.save_patch(Path(chosen))

    def _begin(self, window: tuple[float, float] | None) -> bool:
        shown = self._session.shown
        if shown is None or shown.run is None or shown.review is None or shown.table is None:
            return False
        self._shown = shown
        size = shown.voxel_size_um or 1.0
        controller = ReviewController(
            shown.scan,
            shown.review.mending(shown.scan),
            self._stored_cases(shown),
            float(shown.run.settings["particle_diameter_um"]) / size,
        )
        self._page.begin(
            controller, shown.scan.statistics, shown.voxel_size_um, _diameters(shown), window
        )
        self._show_estimate()
        self._page.set_finding(self.finding.busy, self._searched)
        self.page_wanted.emit(True)
        self._compile_tools(shown)
        return True

    def _compile_tools(self, shown: Shown) -> None:
        """Compile the tools in the background, so that the first mend does not wait for it."""
        if not self._compiled:
            self._compiled = True
            dtype = shown.scan.dtype
            Task("Preparing the tools", lambda progress, cancel: _prepare(dtype)).start()

    @property
    def _searched(self) -> bool:
        """Whether the doubtful particles of the run have been looked for, found or not."""
        shown = self._shown
        if shown is None or shown.run is None or shown.review is None:
            return False
        return shown.run.id in self.finding.kept or shown.review.paths.cases.exists()

    def _stored_cases(self, shown: Shown) -> Sequence[ReviewCase]:
        from particleseg_app.review.cases import read_cases

        assert shown.review is not None and shown.run is not None
        if shown.run.id in self.finding.kept:
            return self.finding.kept[shown.run.id]
        path = shown.review.paths.cases
        if not path.exists():
            return []
        try:
            return read_cases(path)
        except UserError as error:  # it can be made again
            self._session.failed.emit(error)
            return []

    # --- what comes in between -----------------------------------------------------------------

    def _on_cases_found(self, run_id: str) -> None:
        shown, controller = self._shown, self._page.controller
        if shown is None or controller is None or shown.run is None or shown.run.id != run_id:
            return
        controller.set_cases(self._stored_cases(shown))
        self._show_estimate()
        if controller.end or not controller.particles:
            controller.begin()

    def _on_mended(self, box: Box, labels: frozenset[int]) -> None:
        self._session.mended_table.take_up_mends(labels)

    def _on_table(self) -> None:
        shown = self._session.shown
        if self.active and shown is not None:
            self._page.set_diameters(_diameters(shown))

    def _show_estimate(self) -> None:
        """Estimate the run's errors in the background: many possible truths are drawn for it."""
        controller, shown = self._page.controller, self._shown
        self._page.set_estimate("")
        if controller is None or not controller.cases or shown is None or shown.table is None:
            return
        known, count = controller.cases, len(shown.table)
        cases = list(known)

        def work(_progress: Progress, _cancel: CancelToken) -> str:
            from particleseg_app.review.error_rates import estimated_error_rates

            return _guarded(lambda: estimate_text(estimated_error_rates(cases, count)))

        def tell(text: str) -> None:
            if self._page.controller is controller and controller.cases is known:
                self._page.set_estimate(text)

        task = Task("Estimating the errors of the run", work)
        task.finished.connect(tell)
        task.start()


def _prepare(dtype: np.dtype[Any]) -> None:
    from particleseg_app.review.mends import prepare

    prepare(dtype)


def estimate_text(rates: EstimatedErrorRates) -> str:
    """The error rates of a run, estimated without a reference, in a sentence."""
    joined, cut = rates.merger_ratio, rates.splitter_ratio
    if joined.expected + cut.expected > HOPELESS:
        return (
            "Most particles of this run are joined or cut in pieces. Another run, with another "
            "method or diameter, will help more than mending."
        )
    return (
        f"Of 100 particles, about {_rate(joined)} are joined and about {_rate(cut)} cut in pieces."
    )


def _rate(rate: EstimatedRate) -> str:
    """An expected number of errors in 100 particles and its range: 3 (0 to 17), 0.4 (0 to 2).

    The range is so wide that a digit after the point would say nothing from 1 on.
    """
    expected, low, high = (100 * value for value in (rate.expected, rate.low, rate.high))
    figure = f"{expected:.1f}" if 0.05 <= expected < 0.95 else f"{expected:.0f}"
    most = f"{high:.0f}" if high <= 100 else "more than 100"
    return f"{figure} ({low:.0f} to {most})"


def _guarded(make: Callable[[], str]) -> str:
    """The text, or nothing where an estimate is not possible; the review works without."""
    try:
        return make()
    except Exception:
        logger.exception("The error rates could not be estimated.")
        return ""


def _diameters(shown: Shown) -> dict[int, float]:
    assert shown.table is not None
    table = shown.table
    return dict(zip(table["label"].tolist(), table["equivalent_diameter_um"].tolist(), strict=True))


def _box_of(shown: Shown, particles: tuple[int, ...]) -> Box:
    assert shown.review is not None
    return bounding_box(*(shown.review.boxes.box(particle) for particle in particles))
