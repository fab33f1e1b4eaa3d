"""Makes the JPEG files in `files` anew: `python plugins/jpeg/tests/zoo/make_files.py`.

They are what other programs write: cjpeg and jpegtran of libjpeg-turbo 2.1.5, and ImageMagick 6.9. The picture is
`files/source.png`. What Pillow and jpeglib can make, the tests make themselves.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

FILES = Path(__file__).parent / "files"
CONVERT = "convert-im6.q16"
STEPS = [2 + (3 * i) % 29 for i in range(64)]

CJPEG = {
    **{
        f"cjpeg-{name}": ["-quality", "40", "-sample", factors]
        for name, factors in {
            "444": "1x1", "422": "2x1", "440": "1x2", "420": "2x2", "411": "4x1", "410": "4x2", "1x4": "1x4",
            "2x4": "2x4", "3x1": "3x1", "1x3": "1x3", "3x2": "3x2", "luma-subsampled": "1x1,2x2,2x2",
            "luma-half": "1x1,2x1,2x1", "422-as-2x2-1x2": "2x2,1x2,1x2", "444-as-2x1": "2x1,2x1,2x1",
            "440-as-2x2-2x1": "2x2,2x1,2x1", "2x2-2x1-1x1": "2x2,2x1,1x1", "2x1-1x1-2x1": "2x1,1x1,2x1",
        }.items()
    },
    "cjpeg-grey": ["-quality", "40", "-grayscale"],
    "cjpeg-rgb": ["-quality", "40", "-rgb"],
    "cjpeg-rgb-2x2": ["-quality", "40", "-rgb", "-sample", "2x2,1x1,1x1"],
    **{
        f"cjpeg-progressive-{name}": ["-quality", "50", "-progressive", *options]
        for name, options in {
            "420": [], "422": ["-sample", "2x1"], "440": ["-sample", "1x2"], "411": ["-sample", "4x1"],
            "grey": ["-grayscale"], "rgb": ["-rgb"], "restarts": ["-restart", "1"],
        }.items()
    },
    "cjpeg-optimized": ["-quality", "60", "-optimize"],
    "cjpeg-restart-rows": ["-quality", "60", "-restart", "1"],
    "cjpeg-restart-blocks": ["-quality", "60", "-restart", "3B", "-sample", "2x1"],
    "cjpeg-scans-3": ["-quality", "60", "-scans", "@0;\n1;\n2;\n"],
    "cjpeg-scans-2": ["-quality", "60", "-sample", "4x1", "-scans", "@0;\n1 2;\n"],
    "cjpeg-scans-4x4": ["-quality", "60", "-sample", "4x4", "-scans", "@0;\n1;\n2;\n"],
    "cjpeg-scans-spectral": [
        "-quality", "60", "-scans", "@0 1 2: 0 0 0 0;\n0: 1 63 0 0;\n1: 1 63 0 0;\n2: 1 63 0 0;\n"
    ],
    "cjpeg-tables": ["-qtables", "@" + " ".join(map(str, STEPS))],
    "cjpeg-tables-three": [
        "-qtables", "@" + " ".join(map(str, [*STEPS, *STEPS[::-1], *[11] * 64])), "-qslots", "0,1,2"
    ],
    "cjpeg-tables-16-bit": ["-qtables", "@" + " ".join(str(9 * step + 40) for step in STEPS)],
    "cjpeg-tables-16-bit-440": ["-qtables", "@" + " ".join(str(9 * step + 40) for step in STEPS), "-sample", "1x2"],
    "cjpeg-dct-fast": ["-quality", "60", "-dct", "fast"],
    "cjpeg-dct-float": ["-quality", "60", "-dct", "float"],
    "cjpeg-smooth": ["-quality", "60", "-smooth", "40"],
    **{f"cjpeg-quality-{quality}": ["-quality", quality] for quality in ("5", "25", "75", "85,60")},
    "cjpeg-icc": ["-quality", "40", "-icc", "@sRGB"],
    "cjpeg-arithmetic": ["-quality", "40", "-arithmetic"],
    "cjpeg-arithmetic-progressive": ["-quality", "40", "-arithmetic", "-progressive"],
}  # fmt: skip
"""Options by name; an @ stands for a file of the text after it."""

JPEGTRAN = {
    "jpegtran-rotated": ("cjpeg-422", ["-rotate", "90", "-trim"]),
    "jpegtran-transposed": ("cjpeg-420", ["-transpose"]),
    "jpegtran-flipped": ("cjpeg-420", ["-flip", "horizontal", "-trim"]),
    "jpegtran-rotated-411": ("cjpeg-411", ["-rotate", "270", "-trim"]),
    "jpegtran-progressive": ("cjpeg-410", ["-progressive"]),
    "jpegtran-grey": ("cjpeg-420", ["-grayscale"]),
    "jpegtran-cropped": ("cjpeg-420", ["-crop", "21x19+16+16"]),
    "jpegtran-restarts": ("cjpeg-progressive-440", ["-restart", "2B"]),
    "jpegtran-arithmetic": ("cjpeg-420", ["-arithmetic"]),
}

MAGICK = {
    **{
        f"magick-{name}": ["-quality", "45", "-sampling-factor", factors]
        for name, factors in {"444": "4:4:4", "422": "4:2:2", "440": "4:4:0", "420": "4:2:0", "411": "4:1:1",
                              "410": "4:1:0"}.items()
    },
    "magick-progressive": ["-quality", "45", "-interlace", "Plane"],
    "magick-progressive-444": ["-quality", "85", "-interlace", "JPEG", "-sampling-factor", "1x1"],
    "magick-not-optimized": ["-quality", "45", "-define", "jpeg:optimize-coding=false"],
    "magick-grey": ["-quality", "45", "-colorspace", "Gray"],
    "magick-float": ["-quality", "45", "-define", "jpeg:dct-method=float"],
    "magick-fast": ["-quality", "45", "-define", "jpeg:dct-method=ifast"],
    "magick-comment": ["-quality", "45", "-set", "comment", "of a ship"],
    "magick-stripped": ["-quality", "45", "-strip"],
    "magick-bilevel": ["-quality", "60", "-threshold", "50%"],
    "magick-cmyk": ["-quality", "45", "-colorspace", "CMYK"],
}  # fmt: skip


def picture(height: int = 37, width: int = 45) -> np.ndarray:
    """Uint8 [H,W,3] with what photographs have: 1/f noise, edges, a clipped corner."""
    rng = np.random.default_rng(3)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1.0
    planes = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(4, height, width))) / frequency, s=(height, width))
    planes /= planes.std(axis=(1, 2), keepdims=True)
    image = 120 + 40 * planes[:1] + 12 * planes[1:]
    image[:, height // 3 :, width // 2 :] += 50
    image[:, -height // 4 :, : width // 4] += 120
    return image.clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0)


def cjpeg(options: list[str], source: bytes) -> bytes:
    """`source` is a PPM."""
    with tempfile.TemporaryDirectory() as folder:
        words = []
        for number, option in enumerate(options):
            if option.startswith("@"):
                path = Path(folder, str(number))
                path.write_bytes(profile() if option == "@sRGB" else option[1:].encode())
                option = str(path)
            words.append(option)
        return run(["cjpeg", *words], source)


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def run(command: list[str], data: bytes) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def main() -> None:
    FILES.mkdir(exist_ok=True)
    source, buffer = Image.fromarray(picture()), io.BytesIO()
    source.save(FILES / "source.png", optimize=True)
    source.save(buffer, "PPM")
    made = {name: cjpeg(options, buffer.getvalue()) for name, options in CJPEG.items()}
    made |= {
        name: run(["jpegtran", "-copy", "all", *options], made[base]) for name, (base, options) in JPEGTRAN.items()
    }
    made |= {name: run([CONVERT, "ppm:-", *options, "jpeg:-"], buffer.getvalue()) for name, options in MAGICK.items()}
    for name, data in made.items():
        (FILES / f"{name}.jpg").write_bytes(data)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
