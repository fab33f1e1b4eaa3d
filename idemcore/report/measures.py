"""What a metric is called, in which unit, which way is better, and where in a report it belongs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..hookspecs import MetricSpec

if TYPE_CHECKING:
    from ..plugins.catalogue import Catalogue

Direction = Literal["higher", "lower", ""]
Group = Literal["rate", "distortion", "perception", "fidelity", "cost", "other"]


@dataclass(frozen=True)
class Measure:
    """One metric, as readers see it."""

    name: str
    """Its key in the rows of a store."""
    label: str
    unit: str = ""
    direction: Direction = ""
    group: Group = "other"
    digits: int | None = None
    """Decimals to show; None if its values decide."""
    order: int = 99
    """Among its group's."""

    @property
    def title(self) -> str:
        """`PSNR [dB]`."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    def text(self, value: float | None, digits: int | None = None) -> str:
        """The number as it is shown, with a true minus; an en dash for a missing one."""
        if value is None or not math.isfinite(value):
            return "–"
        decimals = self.digits if digits is None and self.digits is not None else digits
        return f"{value:.{2 if decimals is None else decimals}f}".replace("-", "−")


_KNOWN = (
    Measure("bpp", "File rate", "bpp", "lower", "rate", 3),
    Measure("payload_bpp", "Payload rate", "bpp", "lower", "rate", 3),
    Measure("psnr", "PSNR", "dB", "higher", "distortion", 2),
    Measure("psnr_b", "PSNR-B", "dB", "higher", "distortion", 2),
    Measure("ssim", "SSIM", "", "higher", "distortion", 4),
    Measure("ms_ssim", "MS-SSIM", "", "higher", "distortion", 4),
    Measure("fid", "FID", "", "lower", "perception", 1),
    Measure("fd", "Fréchet distance", "", "lower", "perception", 1),
    Measure("kid", "KID × 1000", "", "lower", "perception", 1),
    Measure("kd", "Kernel distance × 1000", "", "lower", "perception", 1),
    Measure("kid_gain", "KID × 1000, gain on the plain decode", "", "higher", "perception", 1),
    Measure("kd_gain", "Kernel distance × 1000, gain on the plain decode", "", "higher", "perception", 1),
    Measure("lpips", "LPIPS", "", "lower", "perception", 3),
    Measure("dists", "DISTS", "", "lower", "perception", 3),
    Measure("pyiqa:musiq", "MUSIQ", "", "higher", "perception", 2),
    Measure("pyiqa:maniqa", "MANIQA", "", "higher", "perception", 3),
    Measure("pyiqa:clipiqa", "CLIP-IQA", "", "higher", "perception", 3),
    Measure("pyiqa:clipiqa+", "CLIP-IQA+", "", "higher", "perception", 3),
    Measure("pyiqa:niqe", "NIQE", "", "lower", "perception", 2),
    Measure("pyiqa:brisque", "BRISQUE", "", "lower", "perception", 1),
    Measure("pyiqa:lpips", "LPIPS (pyiqa)", "", "lower", "perception", 3),
    Measure("pyiqa:dists", "DISTS (pyiqa)", "", "lower", "perception", 3),
    Measure("swd", "Sliced Wasserstein × 1000", "", "lower", "perception", 1),
    Measure("spectrum", "Spectrum distance", "dB", "lower", "perception", 2),
    Measure("diversity", "Diversity", "8-bit levels", "", "perception", 2),
    Measure("recompression_psnr", "Re-compression PSNR", "dB", "higher", "fidelity", 2),
    Measure("solver_recompression_psnr", "Re-compression PSNR, uncertified", "dB", "higher", "fidelity", 2),
    Measure("exact", "Byte-exact", "share", "higher", "fidelity", 2),
    Measure("solver_exact", "Byte-exact, uncertified", "share", "higher", "fidelity", 2),
    Measure("differing_symbols", "Differing symbols", "", "lower", "fidelity", 1),
    Measure("occupancy", "Cell occupancy error", "quantiser steps", "lower", "fidelity", 3),
    Measure("nfe", "Network passes", "", "lower", "cost", 0),
    Measure("backwards", "Passes backwards", "", "lower", "cost", 0),
    Measure("seconds", "Time an image", "s", "lower", "cost", 2),
    Measure("peak_memory", "Peak memory", "MiB", "lower", "cost", 0),
)


def measure_of(name: str, direction: Direction | None = None) -> Measure:
    """The Measure of a metric `name`; `direction` is that of its MetricSpec, None if it has none.

    A name with a suffix, such as `fid-64` or `fd:timm/resnet18`, is of the family of what comes before.
    """
    plain = canonical(name)
    family = max(
        (known for known in _KNOWN if plain == known.name or plain.startswith((f"{known.name}_", f"{known.name}:"))),
        key=lambda known: len(known.name),
        default=None,
    )
    if family is None:
        return Measure(name, name, direction=direction or "")
    rest = plain[len(family.name) :].lstrip("_:").replace("_", " ")
    return replace(
        family,
        name=name,
        label=f"{family.label}, {rest}" if rest else family.label,
        direction=family.direction if direction is None else direction,
        order=_KNOWN.index(family),
    )


def canonical(name: str) -> str:
    """CompressAI's `psnr-rgb` and our `psnr` are one metric: lower case, underscores, no colour space."""
    return name.lower().replace("-", "_").removesuffix("_rgb")


def digits_for(measure: Measure, values: Iterable[float | None]) -> int:
    """Decimals that give the largest of `values` four significant digits, between 0 and 6."""
    if measure.digits is not None:
        return measure.digits
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    return 2 if largest == 0 else min(6, max(0, 3 - math.floor(math.log10(largest))))


def directions(catalogue: Catalogue) -> Mapping[str, Direction]:
    """The direction of each metric that an installed plugin announces."""
    return {spec.name: spec.direction for _, spec in catalogue.specs("metric") if isinstance(spec, MetricSpec)}
