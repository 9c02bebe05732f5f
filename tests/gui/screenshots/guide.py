"""Takes the guide's pictures of the window: `python tests/gui/screenshots/guide.py FOLDER [--all]`.

Does the main job on the bundled sample with the default model, then opens the review, in the true
window. FOLDER gets the pictures of docs/pictures; `--all` repeats result and review at 1280 × 800
and 2560 × 1440, light and dark, for people to look at. 3D needs a display with OpenGL (Xvfb on a
machine without one). Measuring and doubtful particles take about a minute.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_HOME = tempfile.mkdtemp()
os.environ["PARTICLESEG_CONFIG_DIR"] = _HOME

from PySide6.QtWidgets import QApplication, QWidget  # noqa: E402

from particleseg_app.gui import theme  # noqa: E402
from particleseg_app.gui.main_window import MainWindow  # noqa: E402
from particleseg_app.gui.settings import settings  # noqa: E402
from particleseg_app.gui.viewers import Measurement  # noqa: E402

SAMPLE = Path(__file__).parents[3] / "resources" / "sample" / "ore_sample"
WIZARD, GUIDE = (1160, 740), (1440, 900)
SCREENS = ((1280, 800), (2560, 1440))
LONGEST_S = 600.0


class Photographer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.window = MainWindow()
        self.window.session.failed.connect(lambda error: sys.exit(f"failed: {error!r}"))
        self.window.resize(*GUIDE)
        self.window.show()

    def wait(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + LONGEST_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("The window did not get there.")
            QApplication.processEvents()
            time.sleep(0.01)

    def pause(self, seconds: float = 1.0) -> None:
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end)

    def take(self, name: str, widget: QWidget | None = None) -> None:
        self.pause()
        path = self.folder / f"{name}.png"
        if not (widget or self.window).grab().save(str(path)):
            sys.exit(f"{path} cannot be written.")
        sys.stdout.write(f"{path}\n")

    def on_all_screens(self, name: str) -> None:
        for dark in (False, True):
            theme.apply_theme(QApplication.instance(), dark)  # type: ignore[arg-type]
            for size in SCREENS:
                self.window.resize(*size)
                self.pause(2.0)
                self.take(f"{name}_{size[0]}_{'dark' if dark else 'light'}")
        theme.apply_theme(QApplication.instance(), False)  # type: ignore[arg-type]
        self.window.resize(*GUIDE)
        self.pause(2.0)

    def wizard(self) -> None:
        """From the dropped scan to the start of the run."""
        opening, flows = self.window.opening, self.window.flows
        opening.open_paths([SAMPLE])
        self.wait(lambda: opening.new_project_dialog is not None)
        opening.new_project_dialog.create_button.click()
        self.wait(lambda: flows.wizard is not None)
        wizard = flows.wizard
        wizard.resize(*WIZARD)
        self._next(wizard)
        wizard.voxel_size_page.use_button.click()
        self._next(wizard)
        page = wizard.diameter_page
        self.wait(lambda: page.proposal is not None)
        self.pause(3.0)
        z, _, x = page.view.position
        # Two grains of the middle slices, from edge to edge.
        page.tool.add(Measurement("line", 0, z, (z, 23, 37), (z, 23, 58)))
        page.tool.add(Measurement("line", 2, x, (21, 66, x), (37, 66, x)))
        self.take("wizard_diameter", wizard)
        page.field.edit.setText("180")
        self._next(wizard)
        method = wizard.method_page
        self.wait(lambda: method.models_known and method.cost.estimate_shown is not None)
        self.pause(3.0)
        self.take("wizard_method", wizard)
        self._next(wizard)

    def _next(self, wizard: QWidget) -> None:
        self.wait(wizard.next_button.isEnabled)  # type: ignore[attr-defined]
        self.pause(0.3)
        wizard.next_button.click()  # type: ignore[attr-defined]

    def result(self, on_all_screens: bool) -> None:
        session, page = self.window.session, self.window.project_page
        self.wait(lambda: session.shown is not None and session.shown.table is not None)
        self.wait(lambda: page.particles_3d.ready)
        table = session.shown.table
        places = table[["centroid_z_um", "centroid_y_um", "centroid_x_um"]]
        large = table.equivalent_diameter_um > table.equivalent_diameter_um.median()
        from_middle = ((places - places.mean()) ** 2).sum(axis=1).where(large)
        page.table.view.selectRow(int(from_middle.argmin()))
        self.take("result")
        self.take("window")
        if on_all_screens:
            self.on_all_screens("result")

    def review(self, on_all_screens: bool) -> None:
        self.window.actions_.review_action.trigger()
        page = self.window.review_page
        self.wait(lambda: page.controller is not None and page.controller.changes is not None)
        self.pause(3.0)
        self.take("review")
        if on_all_screens:
            self.on_all_screens("review")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    app = QApplication([])
    theme.apply_theme(app, False)
    settings().setValue("last/projects_folder", _HOME)
    camera = Photographer(folder)
    camera.wizard()
    camera.result("--all" in sys.argv)
    camera.review("--all" in sys.argv)
    camera.window.close()
    camera.wait(lambda: not camera.window.isVisible())


if __name__ == "__main__":
    main()
