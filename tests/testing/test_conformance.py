"""Our own plugins keep the laws of their kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from idemcore.adapters.specs import FAMILIES
from idemcore.plugins.catalogue import import_target, load_catalogue
from idemcore.plugins.settings import REQUIRED, describe
from idemcore.testing import Subject, laws, parametrize_with_checks

Check = Callable[[], object]

SMALL = (64, 64)
QUICK_METRICS = ("bpp", "payload-bpp", "exact", "psnr", "recompression-psnr", "occupancy", "spectrum", "diversity")


def solvers() -> Iterator[Subject]:
    for _, spec in load_catalogue().specs("solver"):
        yield Subject.installed("solver", spec.name)
    for name, settings in (("dps", {"constraint": "latent"}), ("mpgd", {"constraint": "cell"})):
        yield Subject.installed("solver", name, **settings)


def metrics(quick: bool) -> Iterator[Subject]:
    for _, spec in load_catalogue().specs("metric"):
        if (spec.name in QUICK_METRICS) == quick:
            yield Subject.installed("metric", spec.name, size=SMALL if quick else None)


@parametrize_with_checks("idemcore-toy")
def test_the_toy_keeps_the_laws(check: Check) -> None:
    check()


@parametrize_with_checks([Subject.installed("codec", "jpeg", quality=10)])
def test_jpeg_keeps_the_laws(check: Check) -> None:
    check()


@parametrize_with_checks(solvers())
def test_solvers_keep_the_laws(check: Check) -> None:
    check()


@parametrize_with_checks(metrics(quick=True))
def test_metrics_keep_the_laws(check: Check) -> None:
    check()


@parametrize_with_checks([Subject.installed("engine", "local"), Subject.installed("engine", "local", workers=1)])
def test_the_local_engine_keeps_the_laws(check: Check) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(
    [
        Subject.installed("codec", "jpeg", quality=75, subsampling="4:4:4"),
        Subject.installed("codec", "jpeg", quality=50, subsampling="4:2:2", optimize=False),
        Subject.installed("codec", "toy", quality=8),
    ]
)
def test_codecs_keep_the_laws_with_other_settings(check: Check) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks([Subject.installed("codec", name, quality=1) for name in ("elic", "hyperprior")])
def test_learned_codecs_keep_the_laws(check: Check) -> None:
    check()


def generators() -> Iterator[Subject]:
    """Those that need no setting; `diffusers`, which needs a model, is tried by its own tests."""
    for _, spec in load_catalogue().specs("generator"):
        if all(field.default != REQUIRED for field in describe(import_target(spec.config))):
            yield Subject.installed("generator", spec.name)


@pytest.mark.slow
@parametrize_with_checks(generators())
def test_generators_keep_the_laws(check: Check) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(metrics(quick=False))
def test_heavy_metrics_keep_the_laws(check: Check) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks([Subject.installed("engine", "ray")])
def test_the_ray_engine_keeps_the_laws(check: Check) -> None:
    check()


@pytest.mark.parametrize("kind", ["encoder", "codec", "generator", "solver", "metric", "engine"])
def test_laws_have_names_and_sentences(kind: str) -> None:
    found = laws(kind)
    names = [(law.name, law.needs & set(FAMILIES)) for law in found]
    assert len(set(names)) == len(names)
    assert all(law.sentence.endswith(".") and "\n" not in law.sentence for law in found)
