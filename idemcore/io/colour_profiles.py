"""ICC colour profiles: whether one can be used, and conversion to sRGB (relative colorimetric)."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

LARGEST_IN_PNG = 2**20
"""Bytes: Pillow, and so idem, refuses a PNG whose profile is longer."""
SPACES = {"RGB": "RGB", "L": "GRAY"}
"""The profiles' colour spaces, by the modes of images that they can be used for."""
_FAULTS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An image of mode RGB or L with this profile, in sRGB. Raises ValueError, saying why it cannot be used."""
    try:
        converted = ImageCms.applyTransform(image, _transform(profile, image.mode))
    except _FAULTS as error:
        raise ValueError(_why(profile, image.mode, error)) from error
    assert converted is not None
    return converted


def fault_in_png(profile: bytes, mode: str) -> str:
    """Why a profile cannot go into a PNG of mode RGB or L, as the rest of "its colour profile ..."; empty if it can."""
    if len(profile) > LARGEST_IN_PNG:
        return f"has {len(profile):,} bytes, and readers of PNG refuse more than {LARGEST_IN_PNG:,}"
    try:
        _transform(profile, mode)
    except _FAULTS as error:
        return _why(profile, mode, error)
    return ""


def is_grey(profile: bytes) -> bool:
    """It describes a single channel."""
    return profile[16:20] == b"GRAY"


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _why(profile: bytes, mode: str, error: Exception) -> str:
    space = profile[16:20].decode("latin-1").strip()
    if profile[36:40] == b"acsp" and space.isascii() and space.isalnum() and space != SPACES[mode]:
        return f"is for {space} colours, not for {SPACES[mode]}"
    return f"is damaged ({str(error) or type(error).__name__})"
