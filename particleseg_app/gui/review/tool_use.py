"""Tools in use: what is set in the panel and drawn in the slices, told to the controller."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject

from particleseg_app.gui.review.controller import ReviewController
from particleseg_app.gui.review.drawing_tool import DrawingTool, Mode, Stroke
from particleseg_app.gui.review.mending_work import Drawing
from particleseg_app.gui.review.tool_panel import ToolPanel

MODES: dict[str, Mode] = {"split": "split", "join": "pick", "paint": "paint", "erase": "erase"}


class ToolUse(QObject):
    """`controller` is None while nothing is reviewed."""

    def __init__(self, panel: ToolPanel, drawing: DrawingTool, parent: QObject) -> None:
        super().__init__(parent)
        self.controller: ReviewController | None = None
        self._panel = panel
        self._drawing = drawing
        self._particles: tuple[int, ...] = ()  # that the tools can work on
        panel.tool_wanted.connect(self.use)
        panel.amount_changed.connect(self._on_amount)
        panel.choice_changed.connect(self._on_drawn)
        panel.apply_wanted.connect(lambda: self._tell(lambda c: c.apply()))
        panel.cancel_wanted.connect(lambda: self.use(None))
        drawing.changed.connect(self._on_drawn)
        drawing.painted.connect(self._on_painted)
        drawing.picked.connect(self._on_picked)

    def use(self, name: str | None) -> None:
        """Take up a tool, or put it down."""
        if self.controller is not None and self.controller.neighbourhood is not None:
            self._take(name)
            amount = self._panel.amount(name) if name is not None else 0
            self.controller.use_tool(name, amount)

    def toggle(self, name: str) -> None:
        """Take up a tool, or put down the one that is in use; the key of the tool."""
        if self._panel.buttons[name].isEnabled():
            self.use(None if self._panel.chosen == name else name)

    def take_back_or_delete(self) -> None:
        """The Delete key: the last point of a drawing, or else the particle."""
        if not (self._drawing.active and self._drawing.take_back()):
            self.toggle("delete")

    def put_down(self) -> bool:
        """Drop the drawing, or else the tool; whether there was any."""
        if self._drawing.cancelled():
            return True
        if self.controller is None or self.controller.tool is None:
            return False
        self.use(None)
        return True

    def show_case(self) -> None:
        """Offer what can be done with the particles that are shown now."""
        controller = self.controller
        if controller is None:
            return
        particles, case = controller.particles, controller.case
        there = () if controller.gone or controller.end else particles
        if there != self._particles:
            self._particles = there
            self._panel.as_new.setChecked(False)
        # What was painted and taken back may be painted again.
        place = case is not None or bool(there) or (bool(particles) and controller.can_redo)
        writable = not controller.journal.read_only
        self._panel.set_available(len(there), writable, place and not controller.end)
        self._panel.setVisible((case is not None or bool(particles)) and not controller.end)
        if self._panel.chosen != controller.tool:
            self._take(controller.tool)
        if controller.tool is not None and not self._panel.buttons[controller.tool].isEnabled():
            self.use(None)

    def show_preview(self) -> None:
        """Tell what the tool would do, or why it cannot."""
        controller = self.controller
        if controller is not None:
            used = controller.tool is not None
            self._panel.show_preview(used and controller.changes is not None)
            self._panel.show_remark(controller.remark if used else "")

    def _take(self, name: str | None) -> None:
        self._panel.show_tool(name)
        self._drawing.set_mode(MODES.get(name) if name is not None else None)
        if name is not None:
            self._drawing.set_radius(self._panel.amount(name))

    def _on_amount(self, tool: str, amount: int) -> None:
        self._drawing.set_radius(amount)
        if tool not in ("paint", "erase"):
            self._tell(lambda c: c.preview_tool(Drawing(amount=amount)))

    def _on_drawn(self) -> None:
        if self._drawing.mode == "split" and self._panel.chosen == "split":
            border = self._drawing.border
            drawing = Drawing(
                markers=tuple(self._drawing.markers),
                border=() if border is None else border.points,
                by_grey=self._panel.by_grey.isChecked(),
            )
            self._tell(lambda c: c.preview_tool(drawing))

    def _on_painted(self, stroke: Stroke) -> None:
        tool = self._panel.chosen
        if tool is not None:
            drawing = Drawing(
                amount=self._panel.amount(tool),
                border=stroke.points,
                new=tool == "paint" and self._panel.as_new.isChecked(),
            )
            self._tell(lambda c: c.paint(drawing))

    def _on_picked(self, point: tuple[float, float, float]) -> None:
        z, y, x = (int(p) for p in point)
        self._tell(lambda c: c.pick((z, y, x)))

    def _tell(self, act: Callable[[ReviewController], object]) -> None:
        if self.controller is not None:
            act(self.controller)
