"""Laws of a codec's cells: which images they contain, and what f and g make of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import Unsupported
from ..noise import Noise
from ..pipeline.certify import certify, snap
from ..protocols import Cell
from .law import Broken, close, equal, law, require, show
from .law import image as check_image
from .pictures import byte_image, pictures
from .trials import CodecTrial

LEVEL = 1 / 255


@law("codec")
def cell_centre(trial: CodecTrial) -> None:
    """The cell's `centre` and `target` are g(y)."""
    close(trial.cell.centre, trial.decode(trial.streams, trial.size), 1e-5, "the cell's centre and the decode")
    equal(trial.cell.target, trial.cell.centre, "the cell's target and centre")


@law("codec")
def cell_distortion(trial: CodecTrial) -> None:
    """`distortion` is [B], float32, in [0,1] units: about the rms error of g(y), within a factor of 10."""
    found = trial.cell.distortion
    require(found.shape == (2,) and found.dtype == torch.float32, f"distortion is {show(found)}, not float32 [2]")
    actual = (trial.cell.centre - trial.image).square().mean(dim=(1, 2, 3)).sqrt().clamp(min=LEVEL / 4)
    for b, (told, seen) in enumerate(zip(found.tolist(), actual.tolist(), strict=True)):
        require(seen / 10 <= told <= 10 * seen, f"it expects an error of {told:.3g} of image {b}, which has {seen:.3g}")


@law("codec")
def estimate_is_offered(trial: CodecTrial) -> None:
    """Without the capability `estimate`, the cell's `estimate` is g(y), its `estimate_error` that of g(y); else not."""
    cell = trial.cell
    same = torch.equal(cell.estimate, cell.centre) and torch.equal(cell.estimate_error, cell.distortion)
    if trial.offers("estimate"):
        require(not same, "the spec offers 'estimate', but the cell's estimate is g(y)")
    else:
        require(same, "the cell has an estimate of its own, but the spec does not offer 'estimate'")


@law("codec", needs={"estimate"})
def estimate_in_cell(trial: CodecTrial) -> None:
    """`estimate` is an image in [0,1] of the cell: certified, it is exact and hardly moved."""
    check_image(trial.cell.estimate, tuple(trial.image.shape), "the estimate")
    found = certify(trial.cell, trial.cell.estimate)
    require(all(found.exact), f"the estimate is not exact: {found.differing_symbols} symbols differ")
    require(min(found.psnr_moved) >= 40, f"certifying moved the estimate by {min(found.psnr_moved):.1f} dB")


@law("codec", needs={"estimate"})
def estimate_has_less_error(trial: CodecTrial) -> None:
    """`estimate` is no farther from the pictures than g(y) is, and `estimate_error`, float32 [B], says about how far.

    Within a factor of 10, and no more than `distortion`.
    """
    cell = trial.cell
    of_estimate, of_decode = ((x - trial.image).square().mean(dim=(1, 2, 3)) for x in (cell.estimate, cell.centre))
    found, plain = (float(error.mean().sqrt()) for error in (of_estimate, of_decode))
    require(found <= plain, f"the estimate is {found:.4g} rms from the pictures, the decode {plain:.4g}")
    told = cell.estimate_error
    require(told.shape == (2,) and told.dtype == torch.float32, f"estimate_error is {show(told)}, not float32 [2]")
    require(bool((told <= cell.distortion).all()), "the estimate is said to have more error than the decode")
    for b, (one, seen) in enumerate(zip(told.tolist(), of_estimate.sqrt().clamp(min=LEVEL / 4).tolist(), strict=True)):
        require(seen / 10 <= one <= 10 * seen, f"it expects an error of {one:.3g} of image {b}, which has {seen:.3g}")


@law("codec")
def offers_are_there(trial: CodecTrial) -> None:
    """Each capability that the spec offers is there, and each that it does not offer raises `Unsupported`."""
    for name in ("measure", "position", "excess", "project"):
        try:
            getattr(trial.cell, name)(trial.other)
        except Unsupported as error:
            require(not trial.offers(name), f"the spec offers '{name}', but the cell raised: {error}")
        except Exception as error:
            if not trial.offers(name):
                raise Broken(f"'{name}' is not offered, and raised {type(error).__name__}, not Unsupported") from error
            raise
        else:
            require(trial.offers(name), f"the cell has '{name}', but the spec does not offer it")


@law("codec")
def contains_is_encoding(trial: CodecTrial) -> None:
    """`contains` says, as bool [B], whether the real encoder gives the real bytes: of the picture and others."""
    for name, image in neighbours(trial).items():
        found = trial.cell.contains(byte_image(image))
        require(found.shape == (2,) and found.dtype == torch.bool, f"contains gave {show(found)}, not bool [2]")
        real = [a == b for a, b in zip(trial.encode(image), trial.streams, strict=True)]
        require(found.tolist() == real, f"of {name}, contains says {found.tolist()}, the encoder {real}")


@law("codec")
def own_image_inside(trial: CodecTrial) -> None:
    """A cell contains the picture that was encoded, and no symbol of it differs; another picture is outside."""
    own, other = byte_image(trial.image), byte_image(trial.other)
    require(bool(trial.cell.contains(own).all()), "the cell does not contain the picture that was encoded")
    require(not trial.cell.contains(other).any(), "the cell contains another picture, whose bytes are others")
    same, different = trial.cell.differing_symbols(own), trial.cell.differing_symbols(other)
    require(same.dtype == torch.int64 and same.shape == (2,), f"differing_symbols gave {show(same)}, not int64 [2]")
    require(not same.any(), f"{same.tolist()} symbols of the picture itself are said to differ")
    require(bool((different > 0).all()), f"only {different.tolist()} symbols of another picture are said to differ")


@law("codec")
def certifies(trial: CodecTrial) -> None:
    """Certifying the picture that was encoded returns it, exact; `snap` of it is a byte image of the cell as well."""
    own = byte_image(trial.image)
    snapped = snap(trial.cell, trial.image)
    require(snapped.dtype == torch.uint8 and snapped.shape == own.shape, f"snap gave {show(snapped)}, not {show(own)}")
    require(bool(trial.cell.contains(snapped).all()), "snap moved the picture that was encoded out of the cell")
    found = certify(trial.cell, trial.image)
    require(all(found.exact), f"exact: {found.exact}, {found.differing_symbols} symbols differ")
    equal(found.image, own, "the picture that was encoded before and after certifying")


@law("codec", needs={"project"})
def certifies_another(trial: CodecTrial) -> None:
    """Certifying another picture gives an exact image."""
    _certified(trial, trial.streams, trial.cell, trial.other)


@law("codec", needs={"project"})
def certifies_odd_sizes(trial: CodecTrial) -> None:
    """At sizes that are no multiple of anything, certifying g(y), with and without noise, gives an exact image."""
    for size in trial.odd_sizes:
        streams = trial.encode(pictures(1, *size))
        cell = trial.encoder.cell(streams, size)
        noise = cell.distortion[:, None, None, None] * Noise([44]).like(cell.centre)
        for image in (cell.centre, (cell.centre + noise).clamp(0, 1)):
            _certified(trial, streams, cell, image)


def _certified(trial: CodecTrial, streams: list[bytes], cell: Cell, image: Tensor) -> None:
    found, size = certify(cell, image), f"{image.shape[-1]}x{image.shape[-2]}"
    differ = f"{found.differing_symbols} symbols of images of {size} differ after certifying"
    require(all(found.exact), f"{differ}. {_snap_found_none(cell)}")
    require(trial.encode(found.image.float() / 255) == streams, f"an exact image of {size} has other bytes")


def _snap_found_none(cell: Cell) -> str:
    """What to do about it, in the codec's cell."""
    if snaps_itself(cell):
        return "The cell's `snap` found no byte image in the cell: let it try longer, or take larger quantiser steps"
    return (
        "The default `snap` found no byte image in the cell: override `Cell.snap(self, x)`, which gives one near x, or "
        "take larger quantiser steps (docs/writing-a-plugin.md has an example)"
    )


def snaps_itself(cell: Cell) -> bool:
    """Whether the cell has a `snap` of its own."""
    return getattr(cell.snap, "__func__", None) is not Cell.snap


@law("codec", needs={"measure"})
def measure_is_decode_of_encode(trial: CodecTrial) -> None:
    """`measure` is decode(encode(x)), up to 4 levels anywhere and 1 level rms."""
    for name, image in neighbours(trial).items():
        real = trial.decode(trial.encode(image), trial.size)
        with torch.no_grad():
            found = trial.cell.measure(image)
        close(found, real, 4 * LEVEL, f"measure and decode(encode(x)) of {name}")
        rms = float((found - real).square().mean().sqrt())
        require(rms <= LEVEL, f"measure is {rms / LEVEL:.2g} levels rms from decode(encode(x)) of {name}")


@law("codec", needs={"measure", "gradient"})
def measure_gradient(trial: CodecTrial) -> None:
    """`measure` has a straight-through gradient: it foretells how g(f(x)) changes with a larger change of x."""
    x, way = trial.other, brightening(trial.other)
    ascent = _slope(trial.cell.measure, x, way, way)
    with torch.no_grad():
        change = trial.cell.measure(x + way) - trial.cell.measure(x - way)
    real = float((change.double() * way).sum() / 2)
    require(real > 0, "brightening the image does not brighten measure(x)")
    told = f"the gradient foretells {ascent:.4g} of a change that is {real:.4g}"
    require(0.5 <= ascent / real <= 2, f"{told}; does it pass straight through the quantiser, and only there?")


@law("codec", needs={"measure", "gradient"})
def measure_gradient_of_its_own_image(trial: CodecTrial) -> None:
    """The gradient of an image's measure is 0 for the other images of the batch."""
    x = trial.other.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(trial.cell.measure(x)[0].sum(), x)
    require(gradient[0].abs().max() > 0, "the gradient is 0 everywhere")
    require(gradient[1].abs().max() == 0, "the gradient of image 0 reaches image 1")


@law("codec")
def cell_batch_independent(trial: CodecTrial) -> None:
    """What a cell says of an image does not depend on the other cells and images of its batch."""
    names = [name for name in ("measure", "position", "excess", "project") if trial.offers(name)]
    with torch.no_grad():
        for b, stream in enumerate(trial.streams):
            alone = trial.encoder.cell([stream], trial.size)
            close(alone.distortion[0], trial.cell.distortion[b], 1e-5, "distortion on its own and in a batch")
            close(alone.estimate[0], trial.cell.estimate[b], 1e-3, "the estimate on its own and in a batch")
            for name in names:
                one, both = (getattr(alone, name)(trial.other[b : b + 1]), getattr(trial.cell, name)(trial.other))
                close(one[0], both[b], 1e-3, f"{name} on its own and in a batch")


def neighbours(trial: CodecTrial) -> dict[str, Tensor]:
    """Images of 8-bit levels about the cells: the picture, nearly the picture, and quite another one."""
    corner = trial.image.clone()
    corner[1, :, -1, -1] = 1 - corner[1, :, -1, -1].round()
    return {
        "the picture itself": trial.image,
        "the picture with another last pixel": corner,
        "g(y)": byte_image(trial.cell.centre).float() / 255,
        "another picture": trial.other,
    }


def brightening(image: Tensor) -> Tensor:
    """A change [B,3,H,W] that leaves [0,1] nowhere and is smooth: codecs of any kind keep it."""
    return torch.full_like(image, 0.1)


def _slope(function: object, x: Tensor, way: Tensor, weight: Tensor) -> float:
    """d/dt <weight, function(x + t way)> at 0, by the gradient."""
    x = x.clone().requires_grad_()
    found = function(x)  # type: ignore[operator]
    require(found.requires_grad, "there is no gradient: what it gives does not depend on x")
    (gradient,) = torch.autograd.grad((found.double() * weight).sum(), x)
    return float((gradient.double() * way).sum())
