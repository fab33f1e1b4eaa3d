"""Commands on a GPU, played by the CPU (see `fake_gpu`): nothing that is on it meets what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_gpu import OnGpu, fake_gpu
from PIL import Image

PRECISION = ("--precision", "fp32")
GPU = ("--device", "cuda", *PRECISION)
CPU = ("--device", "cpu", "--precision", "fp32")
QUICK = {"toy": ("toy", "toy", "cell"), "jpeg": ("jpeg", "toy", "cell"), "elic": ("elic", "toy", "dps")}
NETWORKS = {
    "photo": ("jpeg", "ddpm-photo", "cell"),
    "faces": ("elic", "ddpm-faces64", "cell"),
    "stylegan": ("hyperprior", "stylegan2-faces64", "pulse"),
    "adapter": ("toy", "ddpm-faces64", "ilo"),
    "langevin": ("toy", "stylegan2-faces64", "langevin"),
}
"""Each operation passes through Python, of which networks have thousands."""


def chosen(codec: str, generator: str, solver: str) -> tuple[str, ...]:
    return "--codec", codec, "--generator", generator, "--solver", solver, "--set", "solver.steps=2"


@pytest.fixture
def face(tmp_path: Path, photo: Path) -> Path:
    """64x64, as priors of faces need."""
    path = tmp_path / "face.png"
    Image.open(photo).resize((64, 64)).save(path)
    return path


def test_the_pretended_gpu_tells_what_a_real_one_does():
    with pytest.MonkeyPatch.context() as patch, fake_gpu(patch):
        x = torch.ones(3).to("cuda")
        assert x.device == (x * 2.0).device == torch.zeros(2, device="cuda").device == torch.device("cuda", 0)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            x.numpy()
        assert (x.cpu() + torch.ones(3)).tolist() == (x + torch.tensor(1.0)).tolist() == [2, 2, 2]
        network = torch.nn.Conv2d(1, 1, 1).to("cuda")
        assert isinstance(network.weight, OnGpu)
        image = torch.ones(1, 1, 2, 2, requires_grad=True)
        network(image.to("cuda")).sum().backward()
        assert image.grad.device.type == "cpu"
        assert float(image.grad[0, 0, 0, 0]) == pytest.approx(float(network.weight))


def each_device_and(quick: Iterable[str], slow: Iterable[str]) -> list[Any]:
    """`(device, name)` of CUDA and of Apple's MPS, which has no float64; one of Intel's XPU, which is as CUDA."""
    found = [(device, name) for device in ("cuda", "mps") for name in quick] + [("xpu", next(iter(quick)))]
    return [*found, *(pytest.param(d, n, marks=pytest.mark.slow) for d in ("cuda", "mps") for n in slow)]


@pytest.mark.parametrize(("device", "parts"), each_device_and(QUICK, NETWORKS))
def test_run_and_decode_on_a_gpu_give_what_the_cpu_gives(device, parts, face, idem, tmp_path, monkeypatch):
    on_it = ("--device", device, *PRECISION)
    choice = chosen(*{**QUICK, **NETWORKS}[parts])
    made = idem("run", face, *choice, *CPU, "--out", tmp_path / "cpu")
    assert made.exit_code == 0, made.output
    with fake_gpu(monkeypatch, device):
        made = idem("run", face, *choice, *on_it, "--out", tmp_path / "gpu", "--samples", 2, "--trace", "--save-steps")
        assert made.exit_code == 0, made.output
        stream = next(path for path in (tmp_path / "gpu" / "face").iterdir() if path.suffix in (".idem", ".jpg"))
        decoded = idem("decode", stream, *choice[2:], *on_it, "-o", tmp_path / "decoded.png")
        assert decoded.exit_code == 0, decoded.output
        verified = idem("verify", tmp_path / "decoded.png", stream, "--device", device)
        assert verified.exit_code == 0, verified.output
    cpu, gpu = (json.loads((tmp_path / where / "face" / "report.json").read_text()) for where in ("cpu", "gpu"))
    assert cpu["exact"] is gpu["exact"] is True
    assert gpu["psnr"]["decoded"] == pytest.approx(cpu["psnr"]["decoded"], abs=1e-3)
    first, *_ = gpu["reconstructions"]
    assert first["psnr"]["reconstruction"] == pytest.approx(cpu["psnr"]["reconstruction"], abs=0.02)
    assert idem("verify", tmp_path / "decoded.png", stream, "--device", "cpu").exit_code == 0


def test_the_pretended_apple_has_no_float64():
    with pytest.MonkeyPatch.context() as patch, fake_gpu(patch, "mps"):
        x = torch.ones(3, dtype=torch.float64).to("mps", torch.float32)
        assert x.device == torch.device("mps", 0)
        for make in (x.double, lambda: torch.ones(3, dtype=torch.float64).to("mps"),
                     lambda: torch.zeros(3, dtype=torch.float64, device="mps")):  # fmt: skip
            with pytest.raises(TypeError, match="float64"):
                make()


@pytest.mark.parametrize("device", ["cuda", pytest.param("mps", marks=pytest.mark.slow)])
def test_eval_on_a_gpu_gives_what_the_cpu_gives(device, face, idem, tmp_path, monkeypatch):
    place = tmp_path / "faces"
    place.mkdir()
    for angle in (0, 90, 180):
        Image.open(face).rotate(angle).save(place / f"{angle}.png")
    names = (
        "bpp,psnr,psnr-b,ssim,spectrum,fd,kd,swd,occupancy,recompression-psnr,solver-exact,exact,diversity,peak-memory"
    )
    asked = ("eval", place, *chosen("jpeg", "toy", "cell"), "--seeds", 2, "--metrics", names, "--json")
    made = idem(*asked, *CPU)
    assert made.exit_code == 0, made.output
    alone = json.loads(made.stdout)["results"]
    with fake_gpu(monkeypatch, device):
        made = idem(*asked, "--device", device, *PRECISION, "--batch", 4)
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)["results"]
    assert found.keys() == alone.keys()
    for key in found.keys() - {"peak_memory", "peak-memory"}:
        assert found[key] == pytest.approx(alone[key], rel=0.02, abs=0.02), key


@pytest.mark.parametrize(
    ("device", "generator"), each_device_and(["toy", "stylegan2-faces64"], ["ddpm-photo", "ddpm-faces64"])
)
def test_samples_are_drawn_on_a_gpu(device, generator, idem, tmp_path, monkeypatch):
    with fake_gpu(monkeypatch, device):
        made = idem("sample", "--generator", generator, "-n", 2, "-o", tmp_path / "grid.png", "--device", device)
    assert made.exit_code == 0, made.output
    assert Image.open(tmp_path / "grid.png").size[0] > 16


SETTINGS = {
    "as it is": "",
    "newer": "torch.backends.fp32_precision = torch.backends.cuda.matmul.fp32_precision = 'tf32'",
}
STATE = """
def state():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        return cudnn.allow_tf32, matmul.allow_tf32
    return cudnn.conv.fp32_precision == "tf32", matmul.fp32_precision == "tf32"
"""


@pytest.mark.parametrize("setting", SETTINGS)
def test_full_float32_holds_inside_and_leaves_all_as_it_was(setting):
    """In a process of its own: one that has mixed PyTorch's two settings may not look at either."""
    code = f"""
import torch
from idemcore.runtime import full_float32
{SETTINGS[setting]}
{STATE}
before = *state(), torch.backends.cudnn.deterministic
assert before[0]  # PyTorch's default
with torch.autocast("cpu", torch.bfloat16):
    with full_float32():
        assert state() == (False, False), state()
        assert torch.backends.cudnn.deterministic
        assert (torch.rand(3, 3) @ torch.rand(3, 3)).dtype == torch.float32
    assert (torch.rand(3, 3) @ torch.rand(3, 3)).dtype == torch.bfloat16
assert (*state(), torch.backends.cudnn.deterministic) == before
"""
    if setting == "newer" and not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("only PyTorch 2.9 and later has it")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
