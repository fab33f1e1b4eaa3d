"""Measurements over images: of codecs and decoders side by side, and of a grid of settings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import IdemWarning, UsageError
from ..evaluation.draws import finite_or_none
from ..evaluation.evaluation import Evaluation
from ..evaluation.evaluation import evaluate as evaluated
from ..metrics.building import build, choose_metrics
from ..pipeline.codec import Codec
from ..pipeline.decoder import Decoder
from ..pipeline.identity import Computed
from ..plugins.catalogue import Catalogue, load_catalogue
from ..plugins.objects import keep, kind_of, spec_of
from ..plugins.selection import part_of
from ..protocols import Encoder, Engine, InversionSolver, Metric
from ..runtime import Runtime
from ..sweeps.export import flat
from ..sweeps.grid import NAMES, parse_definition
from ..sweeps.rounds import execute
from ..sweeps.run import BATCH, plan
from ..sweeps.store import Store
from ..sweeps.worker import Worker
from .given import images_of
from .loading import load_codec, load_decoder
from .records import Records

AnyMetric = Any
"""A name, a `protocols.Metric`, or a function from reconstruction and original, [1,3,H,W] in [0,1], to a number."""


def evaluate(
    codecs: str | Encoder | Codec | Sequence[str | Encoder | Codec],
    decoders: str | InversionSolver[Any] | Decoder | Sequence[str | InversionSolver[Any] | Decoder],
    images: Any,
    metrics: Sequence[AnyMetric] = ("bpp", "psnr", "exact", "nfe"),
    *,
    seeds: int | Sequence[int] = 1,
    crop: int | None = None,
    size: int | None = None,
    limit: int | None = None,
    batch: int = 1,
) -> Records:
    """Encodes the images with each codec, decodes them with each decoder, and measures: a row an image and seed.

    A decoder is what `load_decoder` gave, or a solver, which then has the default prior. `images` is a folder, a zip
    file, or a list of images as `encode` takes them; `crop`, `size` and `limit` are those of `idem eval`. `seeds` is
    their number, or a list. `Records.scores` has the means, and metrics of whole sets. An image or metric that cannot
    be had is a warning; errors in settings raise UsageError.
    """
    chosen, given = built_metrics(metrics), images_of(images, crop, size, limit)
    numbers = range(seeds) if isinstance(seeds, int) else list(seeds)
    rows, scores = list[dict[str, Any]](), list[dict[str, Any]]()
    loaded = [(_codec(codec), _decoder(decoder)) for codec in _listed(codecs) for decoder in _listed(decoders)]
    for codec, decoder in loaded:
        found = evaluated(codec, decoder, given, chosen, decoder.parts.different(numbers), batch=batch)
        label = _label(codec, decoder)
        for image, error in found.errors.items():
            warnings.warn(f"{image} is left out: {error}", IdemWarning, stacklevel=2)
        rows += [{**label, "image": row.image, "seed": row.seed, **finite_or_none(row.values)} for row in found.rows]
        scores.append({**label, **_scores(found)})
    return Records(rows, scores)


def sweep(
    axes: Mapping[str, Any],
    images: Any,
    store: str | PathLike[str],
    metrics: Sequence[AnyMetric] = ("bpp", "psnr", "exact", "nfe"),
    *,
    base: Mapping[str, Any] | None = None,
    until: Mapping[str, float] | None = None,
    engine: str | Engine = "local",
    batch: int = BATCH,
    retry_failed: bool = False,
    device: str = "auto",
    precision: str = "auto",
) -> Records:
    """Runs every combination of the axes on every image, once, and keeps all results in `store`: the rows of them.

    `axes` are those of `idem sweep`: `{"quality": [5, 10], "solver": ["cell", MySolver(steps=4)], "seed": "0..3"}`;
    objects of your own stand where names do. `until={"psnr": 0.1}` gives a configuration no more images once the 95 %
    interval of its mean is ±0.1. Called again, it resumes where it stopped. Raises UsageError.
    """
    with _as_places(images) as places:
        content = {"axes": _named_axes(axes), "base": _named_axes(base or {}, single=True), "images": places}
        names = [_registered(metric, "metric") for metric in metrics]
        definition = parse_definition({**content, "metrics": names, "until": dict(until or {})})
        catalogue, target = load_catalogue(), Store(store)
        computed = Computed.by(device, precision)
        planned = plan(definition, catalogue, computed)
        for reason in (*planned.refused, *map(str, planned.unreadable), *planned.same):
            warnings.warn(f"left out: {reason}", IdemWarning, stacklevel=2)
        with target.writing(definition.facts(), len(planned.runs)):
            work = partial(Worker, computed.named(device), computed.precision, planned.metrics)
            execute(target, planned, _engine(catalogue, engine), work, batch, retry_failed)
    return Records(flat(row.to_json()) for row in target.rows() if row.id in planned.ids)


def built_metrics(metrics: Sequence[AnyMetric], runtime: Runtime | None = None) -> list[Metric]:
    """Names and objects as metrics; one whose weights are not here is left out with a warning. Raises UsageError."""
    if isinstance(metrics, str):
        raise UsageError(f"metrics is the text {metrics!r}.", f"Give a list: [{metrics!r}].")
    runtime, catalogue, found = runtime or Runtime.choose(), load_catalogue(), list[Metric]()
    for metric in metrics:
        if isinstance(metric, str):
            built, missing = build(choose_metrics(catalogue, [metric]), runtime)
            for name, reason in missing.items():
                warnings.warn(f"{name} is missing: {reason}", IdemWarning, stacklevel=3)
            found += built
            continue
        part = part_of(catalogue, "metric", metric)
        made: Metric = part.build()
        made.name, made.spec = part.spec.name, part.spec
        found.append(made)
    return found


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _codec(codec: str | Encoder | Codec) -> Codec:
    return codec if isinstance(codec, Codec) else load_codec(codec)


def _decoder(decoder: str | InversionSolver[Any] | Decoder) -> Decoder:
    return decoder if isinstance(decoder, Decoder) else load_decoder(solver=decoder)


def _label(codec: Codec, decoder: Decoder) -> dict[str, Any]:
    """What tells a configuration from the others: names and settings."""
    parts = {"codec": codec.part, **decoder.parts.used}
    names = {kind: parts[kind].spec.name if kind in parts else None for kind in NAMES}
    settings = {f"{kind}.{key}": value for kind, part in parts.items() for key, value in asdict(part.config).items()}
    return {**names, **settings}


def _scores(found: Evaluation) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for name, score in found.scores.items():
        scores[name] = score.value if math.isfinite(score.value) else None
        if score.low is not None and score.high is not None:
            scores[f"{name} ±"] = (score.high - score.low) / 2
    return scores


def _named_axes(axes: Mapping[str, Any], single: bool = False) -> dict[str, Any]:
    """With names in the place of objects, which are registered by them."""
    named: dict[str, Any] = {}
    for key, values in axes.items():
        listed = [_registered(value, key) if key in NAMES else value for value in _listed(values)]
        named[key] = listed[0] if single else listed
    return named


def _registered(thing: Any, kind: str) -> str:
    """The name of an object with its settings, by which it is then known in this process; a name is one already."""
    if isinstance(thing, str):
        return thing
    spec = spec_of(thing, kind=kind)
    config = spec.config() if isinstance(spec.config, type) else None
    settings = ", ".join(f"{key}={value}" for key, value in asdict(config).items()) if config else ""
    return keep(spec_of(thing, f"{spec.name}({settings})" if settings else ""), kind)


def _engine(catalogue: Catalogue, engine: str | Engine) -> Engine:
    if not isinstance(engine, str) and kind_of(engine) != "engine":
        raise UsageError(f"{engine!r} is not an engine.", "Give a name, or a protocols.Engine.")
    made: Engine = part_of(catalogue, "engine", engine).build()
    return made


@contextmanager
def _as_places(images: Any) -> Iterator[list[str]]:
    """Paths of images; those that are arrays lie in a folder that vanishes with the block."""
    paths = [str(one) for one in _listed(images) if isinstance(one, str | PathLike)]
    arrays = [one for one in _listed(images) if not isinstance(one, str | PathLike)]
    if not arrays:
        yield paths
        return
    with TemporaryDirectory() as folder:
        for source in images_of(arrays).sources:
            place = Path(folder) / f"{source.name}.png"
            place.write_bytes(source.content())
        yield [*paths, folder]
