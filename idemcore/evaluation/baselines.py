"""Codecs that stand beside ours as curves alone: Pillow's formats and OpenCV's JPEG. They have no cell to draw from.

image -> encode (each quality) -> decode -> Case -> metrics -> Curve, with the images that it was measured on
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, features
from torch import Tensor

from ..errors import MissingError, UsageError, nearest
from ..metrics import Case, Metric
from ..pipeline.certificate import pixels_sha256
from ..results.rows import CurveMeta, EvalRow
from ..weights.digest import digest
from .curves import Curve, curve
from .draws import finite_or_none, measure
from .evaluation import Images, MeasuredDraw, score_rows, score_sets
from .known_sets import recognised

Pixels = npt.NDArray[np.uint8]
"""[H,W,3], sRGB."""
Write = Callable[[Pixels, int], bytes]


@dataclass(frozen=True)
class Baseline:
    """A format with an encoder."""

    name: str
    title: str
    qualities: tuple[int, ...]
    """On its own scale, by rising rate, from below 0.2 to about 2 bits a pixel of a photograph."""
    scale: str
    """What its quality is."""
    write: Write
    version: Callable[[], str]
    """Returns the encoder's version; raises MissingError where it is not here."""

    least: int = 0
    """Quality; the most is 100."""

    def check(self, quality: int) -> None:
        """Raises UsageError for a quality off its scale."""
        if not self.least <= quality <= 100:
            raise UsageError(f"{self.name}: quality is {quality}, not {self.least} to 100.", f"It is {self.scale}.")

    def bytes_of(self, pixels: Pixels, quality: int) -> bytes:
        """What the encoder writes. Raises UsageError for a quality off its scale."""
        self.check(quality)
        return self.write(pixels, quality)


def _pillow(kind: str, **fixed: Any) -> Write:
    def write(pixels: Pixels, quality: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, **{"quality": quality, **fixed})
        return buffer.getvalue()

    return write


def _jpeg2000(pixels: Pixels, quality: int) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality_mode": "dB", "quality_layers": [quality], "irreversible": True, "mct": 1}
    Image.fromarray(pixels).save(buffer, "JPEG2000", **options)
    return buffer.getvalue()


def _opencv(pixels: Pixels, quality: int) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data.tobytes())


def _of_pillow(feature: str) -> Callable[[], str]:
    def version() -> str:
        if not features.check(feature):
            hint = f"Type: pip install -U 'pillow>=11.3', whose wheels can; this is {version_of('pillow')}."
            raise MissingError(f"This Pillow cannot write {feature}.", hint)
        return f"Pillow {version_of('pillow')}, {feature} {features.version(feature) or ''}".strip()

    return version


def _of_package(module: str, package: str, licence: str) -> Callable[[], str]:
    def version() -> str:
        try:
            found = import_module(module)
        except ImportError as error:
            hint = f"Type: pip install {package} (its licence is {licence})."
            raise MissingError(f"The encoder is in a package that is not here: {error}.", hint) from error
        return f"{package} {getattr(found, '__version__', '')}".strip()

    return version


LIBJPEG = "libjpeg's, 1 to 100"
BASELINES: Mapping[str, Baseline] = {
    one.name: one
    for one in (
        Baseline("jpeg-pillow", "JPEG (Pillow, 4:2:0)", (5, 10, 20, 30, 40, 50, 60, 70, 80, 90), LIBJPEG,
                 _pillow("JPEG", subsampling="4:2:0", optimize=True), _of_pillow("jpg"), least=1),
        Baseline("jpeg-opencv", "JPEG (OpenCV, 4:2:0)", (5, 10, 20, 30, 40, 50, 60, 70, 80, 90), LIBJPEG,
                 _opencv, _of_package("cv2", "opencv-python-headless", "Apache-2.0"), least=1),
        Baseline("jpeg2000", "JPEG 2000 (OpenJPEG)", (24, 26, 28, 30, 32, 34, 36, 38, 40), "the PSNR aimed at, dB",
                 _jpeg2000, _of_pillow("jpg_2000"), least=1),
        Baseline("webp", "WebP", (1, 10, 20, 35, 50, 65, 80, 90, 95), "libwebp's, 0 to 100",
                 _pillow("WEBP", method=6), _of_pillow("webp")),
        Baseline("avif", "AVIF", (10, 20, 30, 40, 50, 60, 70, 80, 90), "libavif's, 0 to 100",
                 _pillow("AVIF", speed=4, max_threads=1), _of_pillow("avif")),
        Baseline("jxl", "JPEG XL", (5, 10, 20, 30, 45, 60, 75, 85, 92), "libjxl's, 0 to 100",
                 _pillow("JXL"), _of_package("pillow_jxl", "pillow-jxl-plugin", "GPL-3.0")),
    )
}  # fmt: skip
"""By name."""


def baseline(name: str) -> Baseline:
    """Raises UsageError for a name that is none."""
    if name not in BASELINES:
        guess = nearest(name, list(BASELINES))
        raise UsageError(f"There is no baseline '{name}'.", f"{guess} Known: {', '.join(BASELINES)}.".strip())
    return BASELINES[name]


def baseline_curve(
    one: Baseline,
    images: Images,
    metrics: Sequence[Metric],
    qualities: Sequence[int] = (),
    missing: Mapping[str, str] | None = None,
) -> Curve:
    """The curve of a baseline over images, in the order of `qualities` (default: the baseline's own).

    `metrics` that ask for a cell are undefined. Raises MissingError where the encoder is not here.
    """
    version, steps = one.version(), tuple(qualities) or one.qualities
    for quality in steps:  # all of them, before hours of work
        one.check(quality)
    scores, rows, pixels = [], list[EvalRow](), dict[str, str]()
    for point, quality in enumerate(steps):
        drawn = list[MeasuredDraw]()
        cases = _measured(_cases(one, images, quality, pixels), metrics, drawn)
        sets = score_sets(metrics, cases)
        scores.append({**score_rows(metrics, drawn), **sets})
        rows += [EvalRow(point, row.image, row.seed, finite_or_none(row.values)) for row in drawn]
    known = recognised(pixels.values())
    protocol = {"images": known.name} if known else {"pixels_sha256": pixels_digest(pixels.values())}
    points = tuple({"name": one.name, "quality": quality} for quality in steps)
    facts = images.facts()
    description = f"{facts.count} images of {facts.dataset}, {facts.crop}; {version}; by idem"
    return curve(one.title, description, scores, {metric.name: metric.spec.key for metric in metrics}, rows=rows,
                 missing=dict(missing or {}), meta=CurveMeta(facts, points), protocol=protocol,
                 source=f"measured with {version}", date=time.strftime("%Y-%m-%d"))  # fmt: skip


def pixels_digest(pixels: Any) -> str:
    """Names a set of images by the sha256 of their pixels, whatever their order."""
    return digest(sorted(set(pixels)))


def _measured(cases: Iterator[Case], metrics: Sequence[Metric], drawn: list[MeasuredDraw]) -> Iterator[Case]:
    """Passes the cases on to the metrics of sets."""
    for case in cases:
        (values,) = measure(metrics, case)
        drawn.append(MeasuredDraw(case.images[0], 0, values))
        yield case


def _cases(one: Baseline, images: Images, quality: int, pixels: dict[str, str]) -> Iterator[Case]:
    """What the format makes of each image; a file that cannot be read stops the curve, whose means would lack it."""
    for source in images.sources:
        original = images.frame.read(source)
        pixels[source.name] = pixels_sha256(original)
        begin = time.perf_counter()
        data = one.bytes_of(_array(original), quality)
        shown = _decoded(data)
        seconds = time.perf_counter() - begin
        exact = one.bytes_of(_array(shown), quality) == data
        zero = torch.zeros(1)
        yield Case((source.name,), shown, original, shown, streams=(data,), file_bits=torch.tensor([8.0 * len(data)]),
                   exact=torch.tensor([exact]), nfe=zero, backwards=zero,
                   seconds=torch.tensor([seconds]))  # fmt: skip


def _array(image: Tensor) -> Pixels:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _decoded(data: bytes) -> Tensor:
    """Uint8 [1,3,H,W], by Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
