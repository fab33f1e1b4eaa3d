"""The cell: box, projection, proxy and the promise that `snap` finds a byte image that re-encodes to the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from idemcore.errors import InputError
from idemcore.io.images import read_image
from idemcore_jpeg.cell import JpegCell

SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
CELLS = [(q, s, size) for s in SAMPLINGS for q, size in ((10, (48, 64)), (75, (37, 51)), (90, (17, 70)))]


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    return read_image(Path(__file__).parents[3] / "examples" / "photo.png")


def near(cell: JpegCell, seed: int = 0, sigma: float = 0.03) -> torch.Tensor:
    noise = torch.randn(cell.centre.shape, generator=torch.Generator().manual_seed(seed))
    return (cell.centre + sigma * noise).clamp(0, 1)


@pytest.fixture(params=CELLS, ids=lambda p: f"q{p[0]}-{p[1]}-{p[2][0]}x{p[2][1]}")
def image_and_cell(make, request, encoder) -> tuple[torch.Tensor, JpegCell]:
    quality, subsampling, size = request.param
    image, codec = make.natural(*size), encoder(quality=quality, subsampling=subsampling)
    return image, codec.cell(codec.encode(make.real(image)))


def test_original_is_contained_and_a_changed_image_is_not(image_and_cell) -> None:
    image, cell = image_and_cell
    assert cell.own_bytes.all()
    assert cell.contains(image).all()
    assert not cell.differing_symbols(image).any()
    changed = image.clone()
    changed[..., :8, :8] = 255 - changed[..., :8, :8]
    assert not cell.contains(changed).any()
    assert (cell.differing_symbols(changed) > 0).all()


def test_project_ends_in_the_cell_and_stays_there(image_and_cell) -> None:
    _, cell = image_and_cell
    cell.rounds = 400
    inside = cell.project(near(cell))
    assert cell.excess(inside).max() < 0.02
    assert inside.min() >= 0
    assert inside.max() <= 1
    torch.testing.assert_close(cell.project(inside), inside, atol=1e-5, rtol=0)


def test_project_keeps_the_margin(make, encoder) -> None:
    codec = encoder(quality=20, subsampling="4:2:0")
    # Mid-tones: clamping to [0,1] cannot stand against the margin.
    cell = codec.cell(codec.encode(0.3 + 0.4 * make.real(make.natural(48, 48))))
    projected = cell.project(near(cell), 0.2)
    assert cell.box.position(projected).abs().max() < 0.5 - 0.2 + 0.02
    assert cell.box.position(cell.project(near(cell), 0.0)).abs().max() > 0.45


def test_project_moves_no_further_than_the_original(make, image_and_cell) -> None:
    """A projection is nearer to every point of the set than what was projected (the norm is that of YCbCr)."""
    image, cell = image_and_cell
    candidate = near(cell)

    def distance(a: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ij,bjhw->bihw", cell.box.forward, a - make.real(image)).square().mean()

    assert distance(cell.project(candidate)) < distance(candidate)


def test_excess_is_zero_inside_only(image_and_cell) -> None:
    _, cell = image_and_cell
    outside = cell.excess(near(cell, sigma=0.2))
    assert outside.shape == (1, int(cell.box.layout.valid.sum()) * 64)
    assert outside.max() > 0.5
    position = cell.box.position(near(cell, sigma=0.2))[:, cell.box.layout.valid].flatten(1).abs()
    assert torch.equal(outside > 0, position > 0.5)


def test_excess_has_the_gradient_of_finite_differences(image_and_cell) -> None:
    _, cell = image_and_cell
    x = near(cell, sigma=0.2).requires_grad_()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (slope,) = torch.autograd.grad(cell.excess(x).square().sum(), x)
    up, down = (cell.excess(x.detach() + s * 1e-3 * direction).double().square().sum() for s in (1, -1))
    torch.testing.assert_close((slope * direction).sum().double(), (up - down) / 2e-3, rtol=2e-2, atol=1e-2)


def test_measure_is_what_the_real_files_decode_to(make, image_and_cell, encoder) -> None:
    image, cell = image_and_cell
    found = cell.measure(make.real(image))
    assert (found - cell.centre).abs().max() * 255 < 3
    assert (found - cell.centre).abs().mean() * 255 < 0.7


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", [(40, width) for width in range(1, 8)] + [(1, 40), (2, 3), (3, 4)])
def test_measure_is_libjpeg_s_decode_of_narrow_pictures_too(make, encoder, size, subsampling: str) -> None:
    """Of one or two columns of chroma it repeats the samples, where wider planes are filtered."""
    codec = encoder(quality=90, subsampling=subsampling)
    image = make.real(make.extreme(*size))
    cell = codec.cell(codec.encode(image))
    assert (cell.measure(image) - cell.centre).abs().max() * 255 < 4


def test_measure_passes_gradients_straight_through(image_and_cell) -> None:
    _, cell = image_and_cell
    x = near(cell).requires_grad_()
    ((cell.measure(x) - cell.centre).square().sum()).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize("subsampling", SAMPLINGS)
@pytest.mark.parametrize("quality", [5, 10, 25, 50, 75, 90])
def test_snap_is_byte_exact_near_the_cell(make, encoder, quality: int, subsampling: str) -> None:
    codec = encoder(quality=quality, subsampling=subsampling)
    streams = codec.encode(make.real(make.natural(67, 83, seed=quality)))
    cell = codec.cell(streams)
    wanted = cell.project(near(cell))
    snapped = cell.snap(wanted)
    assert codec.encode(make.real(snapped)) == streams
    assert (make.real(snapped) - wanted).square().mean() < 10**-4.5


@pytest.mark.parametrize("subsampling", SAMPLINGS)
@pytest.mark.parametrize("quality", [10, 50, 75, 90])
def test_snap_is_byte_exact_from_an_unrelated_image(make, encoder, quality: int, subsampling: str) -> None:
    codec = encoder(quality=quality, subsampling=subsampling)
    streams = codec.encode(make.real(make.natural(45, 50, seed=1)))
    assert codec.encode(make.real(codec.cell(streams).snap(make.real(make.natural(45, 50, seed=2))))) == streams


@pytest.mark.parametrize("quality", [10, 75])
def test_snap_is_byte_exact_for_clipped_colours(make, encoder, quality: int) -> None:
    codec = encoder(quality=quality, subsampling="4:4:4")
    streams = codec.encode(make.real(make.extreme(24, 40)))
    cell = codec.cell(streams)
    assert cell.contains(cell.snap(near(cell))).all()


def test_snap_needs_kicks_for_clipped_highlights(encoder, monkeypatch) -> None:
    """A white sky: red and green clipped, blue noisy below. All attempts stop at the same almost fitting tile."""
    image = torch.ones(1, 3, 8, 8)
    blue = 245 + 4 * np.random.default_rng(14).normal(size=(8, 8))
    image[0, 2] = torch.from_numpy(blue.clip(0, 255).round() / 255)
    codec = encoder(quality=90, subsampling="4:4:4")
    cell = codec.cell(codec.encode(image))
    assert cell.contains(cell.snap(cell.centre)).all()
    monkeypatch.setattr("idemcore_jpeg.snap.RESTARTS", 0)
    assert not cell.contains(cell.snap(cell.centre)).any()


def test_snap_finds_edges_where_pixels_are_repeated(photograph, encoder, monkeypatch) -> None:
    """Two rows are left of the last MCUs, and quantisers are fine: from g(y), nothing near fits."""
    codec = encoder(quality=95, subsampling="4:2:0")
    cell = codec.cell(codec.encode(photograph[..., :2, 192:256]))
    assert cell.contains(cell.snap(cell.centre)).all()
    monkeypatch.setattr("idemcore_jpeg.snap.RESTARTS", 0)
    monkeypatch.setattr("idemcore_jpeg.snap.BestTiles.throw", lambda *_: None)
    assert not cell.contains(cell.snap(cell.centre)).any()


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_an_edge_that_an_image_gave_is_not_given_up(subsampling, photograph, encoder) -> None:
    """Rounding moves repeated pixels together, so far beyond the walls of fine cells that no real numbers fit."""
    codec = encoder(quality=100, subsampling=subsampling)
    for start in range(4):
        cell = codec.cell(codec.encode(photograph[..., start : start + 18, 40 * start : 40 * start + 19]))
        box = cell.box.image(0)
        tiles = box.layout.tiles(255 * cell.centre)
        for where in (where for where in box.layout.maps if not where.inner):
            rows, columns = range(*where.rows.indices(99)), range(*where.columns.indices(99))
            at = tuple(torch.tensor(index) for index in zip(*((0, m, n) for m in rows for n in columns), strict=True))
            assert not box.is_empty(tiles[:, at[0], at[1], at[2]], where, at, 600).any()


def test_snap_leaves_an_image_of_the_cell_alone(make, image_and_cell) -> None:
    image, cell = image_and_cell
    assert torch.equal(cell.snap(make.real(image)), image)


def test_no_image_depends_on_its_batch(make, encoder) -> None:
    codec = encoder(quality=50)
    streams = codec.encode(make.real(torch.cat([make.natural(40, 56, seed=s) for s in range(3)])))
    cell, alone = codec.cell(streams), codec.cell(streams[1:2])
    x = near(cell)
    torch.testing.assert_close(cell.project(x, 0.1)[1:2], alone.project(x[1:2], 0.1), atol=1e-5, rtol=0)
    torch.testing.assert_close(cell.excess(x)[1:2], alone.excess(x[1:2]), atol=1e-4, rtol=0)
    assert torch.equal(cell.snap(x)[1:2], alone.snap(x[1:2]))
    assert cell.contains(cell.snap(x)).tolist() == [True, True, True]


FOREIGN = {
    "progressive": {"quality": 40, "progressive": True},
    "tables": {"qtables": [[3 + i % 20 for i in range(64)], [9] * 64]},
    "restarts": {"quality": 40, "restart_marker_blocks": 2},
    "comment": {"quality": 40, "comment": b"by another program"},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_file_of_another_encoder_is_matched_on_coefficients(make, encoder, kind: str) -> None:
    image = make.natural(41, 53)
    data = make.pillow_jpeg(image, **FOREIGN[kind])
    cell = encoder().cell([data])
    assert cell.own_bytes.tolist() == [kind == "tables"]
    assert cell.contains(image).all()
    snapped = cell.snap(near(cell))
    assert cell.contains(snapped).all()
    assert not cell.contains(255 - image).any()


def test_bytes_after_the_end_do_not_matter(make, encoder) -> None:
    image = make.natural(41, 53)
    cell = encoder().cell([make.pillow_jpeg(image, quality=40) + b"\r\n"])
    assert cell.contains(image).all()
    assert cell.differing_symbols(image).tolist() == [0]
    assert not cell.contains(255 - image).any()


def test_grey_file_has_a_cell(make, encoder) -> None:
    image = make.natural(41, 53)
    data = make.pillow_jpeg(image, "L", quality=60)
    cell = encoder().cell([data])
    assert cell.own_bytes.all()
    assert cell.contains(cell.snap(near(cell))).all()
    assert (cell.measure(make.real(image)) - cell.centre).abs().max() * 255 < 2


def test_batch_of_different_samplings_is_refused(make, encoder) -> None:
    streams = [encoder(subsampling=s).encode(make.real(make.natural(32, 32)))[0] for s in ("4:4:4", "4:2:0")]
    with pytest.raises(InputError, match="sampling"):
        encoder().cell(streams)


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_bands_of_a_large_image_give_the_same_as_the_whole(make, encoder, monkeypatch, subsampling: str) -> None:
    codec = encoder(quality=20, subsampling=subsampling)
    streams = codec.encode(make.real(torch.cat([make.natural(75, 45), make.gradient(75, 45)])))
    whole = codec.cell(streams)
    monkeypatch.setattr("idemcore_jpeg.bands.BAND", 45 * 40)
    cut = codec.cell(streams)
    assert (len(whole.bands), len(cut.bands)) == (1, 3)
    assert [band.rows.start for band in cut.bands[1:]] == [band.rows.stop for band in cut.bands[:-1]]
    x = near(whole)
    torch.testing.assert_close(cut.project(x, 0.1), whole.project(x, 0.1), rtol=0, atol=1e-5)
    assert cut.contains(cut.snap(x)).all()
