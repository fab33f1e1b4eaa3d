"""Our own plugins keep the laws of their kinds."""

from __future__ import annotations

from collections.abc import Callable

from idemcore.testing import parametrize_with_checks


@parametrize_with_checks("idemcore-toy")
def test_toy_keeps_the_laws(check: Callable[[], object]) -> None:
    check()


@parametrize_with_checks("idemcore-dps")
def test_dps_keeps_the_laws(check: Callable[[], object]) -> None:
    check()


@parametrize_with_checks("idemcore-latent")
def test_latent_keeps_the_laws(check: Callable[[], object]) -> None:
    check()
