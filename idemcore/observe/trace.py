"""What a solver tells of its steps, as JSON lines and as a plot. Light: imports matplotlib when it plots.

trace = Trace()
decoder.reconstruct(bitstream, callback=trace)
trace.jsonl(), trace.plot("cell on ddpm-photo")
"""

from __future__ import annotations

import io
import json
import math
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..protocols import Step

INK, MUTED, LINE = "#1c1e22", "#686e78", "#2364aa"
MARKED = 60
"""Most steps that are each marked with a dot in a plot."""


class Trace:
    """A callback for `solve` that keeps the numbers of every step.

    A row has index, total, sigma, residual (in [0,1] units or quantiser steps, as the solver has it), nfe (passes so
    far) and seconds since the trace was made; a number that is not finite is None.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.begin = time.perf_counter()

    def __call__(self, step: Step) -> None:
        seconds = time.perf_counter() - self.begin
        numbers = {"sigma": step.sigma, "residual": step.residual, "nfe": step.nfe, "seconds": seconds}
        kept = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        self.rows.append({"index": step.index, "total": step.total, **kept})

    def jsonl(self) -> bytes:
        """A line a step."""
        return "".join(json.dumps(row) + "\n" for row in self.rows).encode()

    def plot(self, title: str) -> bytes:
        """A PNG of residual and noise level against passes; without the latter where the solver has none.

        Raises MissingError if matplotlib is not installed.
        """
        check_plots()
        from matplotlib.figure import Figure

        panels = {"residual": "constraint residual, rms"}
        if any(row["sigma"] for row in self.rows):
            panels["sigma"] = "noise level, sigma"
        figure = Figure(figsize=(7.2, 1.0 + 2.4 * len(panels)), layout="constrained")
        figure.suptitle(title, x=0.02, ha="left", fontsize=13, color=INK)
        columns = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, (key, label) in zip(columns, panels.items(), strict=True):
            self._panel(axes, key, label)
        columns[-1].set_xlabel("passes of the network", color=MUTED)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=140)
        return buffer.getvalue()

    def _panel(self, axes: Axes, key: str, label: str) -> None:
        told = [(row["nfe"], row[key]) for row in self.rows if row[key] is not None and row["nfe"] is not None]
        passes, values = [x for x, _ in told], [y for _, y in told]
        axes.plot(passes, values, "o-" if len(told) <= MARKED else "-", color=LINE, linewidth=1.6, markersize=4)
        if values and min(values) > 0 and max(values) > 10 * min(values):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(label, loc="left", fontsize=10.5, color=INK)
        axes.grid(True, color="#e3e5e8", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#b9bec6")
        axes.tick_params(which="both", color="#b9bec6", labelcolor=MUTED)


def check_plots() -> None:
    """Raises MissingError if matplotlib is not installed, which the extra `plots` brings."""
    if not can_plot():
        raise MissingError(
            "Plots are drawn by matplotlib, which is not installed.", 'Type: pip install "idemcore[plots]"'
        )


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None
