"""CompressAI's published checkpoints: taken as they are and used, or refused by name with nothing stored."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from compressai.models import MeanScaleHyperprior
from torch import Tensor

from idemcore.errors import InputError
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.runtime import Runtime
from idemcore.weights import store as models

State = dict[str, Tensor]
CPU = Runtime(torch.device("cpu"), torch.float32)
DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty."""
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def published(layout: str, make: SimpleNamespace) -> State:
    """Random values in a published layout, with the tables that a released file also holds."""
    if layout == "mbt2018-mean":
        with torch.random.fork_rng(devices=[]):
            shapes = {name: list(value.shape) for name, value in MeanScaleHyperprior(128, 192).state_dict().items()}
    else:
        shapes = json.loads((DATA / f"{layout}.json").read_text())
    kind = "mean" if layout == "mbt2018-mean" else "scale"
    model = make.model(kind, channels=shapes["g_a.0.weight"][0], latents=shapes["g_a.6.weight"][0])
    tables = {
        name: torch.zeros(shape, dtype=torch.int32 if re.search(r"_(offset|cdf|cdf_length)$", name) else torch.float32)
        for name, shape in shapes.items()
    }
    return {**tables, **model.state_dict()}


def old_names(state: State) -> State:
    """As CompressAI before 1.2.7 called them."""
    kinds = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}

    def old(name: str) -> str:
        found = re.fullmatch(r"entropy_bottleneck\.(matrices|biases|factors)\.(\d)", name)
        return f"entropy_bottleneck.{kinds[found[1]]}{found[2]}" if found else name

    return {old(name): value for name, value in state.items()}


@pytest.fixture(scope="module")
def small(make: SimpleNamespace) -> State:
    return make.model().state_dict()


@pytest.mark.parametrize("names", ["new", "old"])
@pytest.mark.parametrize(
    ("layout", "card", "quality"),
    [
        ("hyperprior_q1-5", "bmshj2018-hyperprior", 1),
        ("hyperprior_q6-8", "bmshj2018-hyperprior", 8),
        ("mbt2018-mean", "mbt2018-mean", 3),
    ],
)
def test_a_published_layout_is_imported_and_codes_an_image(
    idem: Callable[..., Any], tmp_path: Path, make: SimpleNamespace, layout: str, card: str, quality: int, names: str
) -> None:
    state = published(layout, make)
    torch.save(old_names(state) if names == "old" else state, tmp_path / "weights.pth.tar")
    result = idem("models", "import", f"{card}-{quality}", tmp_path / "weights.pth.tar", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["published"] is False, "of random values"
    image = make.picture(1, 70, 64)
    codec = Codec.load("hyperprior", CPU, weights=card, quality=quality)
    written = codec.encode(make.real(image))
    opened = open_bitstream(written.data, runtime=CPU)
    assert (opened.codec.part.config.weights, opened.codec.part.config.quality) == (card, quality)
    assert torch.equal(opened.decoded, written.decoded)
    assert opened.cell.contains(image).all()
    sent = codec.encoder.coder.quantise(*codec.encoder.analyse(make.real(image)))
    found = opened.codec.encoder.latents([opened.stream], (70, 64))
    assert all(torch.equal(getattr(found, part), getattr(sent, part)) for part in vars(sent))
    own = codec.encoder.model.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


WRONG: dict[str, tuple[Callable[[State], object], str]] = {
    "missing weight": (without("g_a.2.weight"), r"missing g_a\.2\.weight"),
    "missing first weight": (without("g_a.0.weight"), r"g_a\.0\.weight.* is missing"),
    "missing matrix": (without("entropy_bottleneck.matrices.3"), r"missing entropy_bottleneck\.matrices\.3"),
    "missing reparametrisation": (without("g_a.1.beta"), r"missing g_a\.1\.beta"),
    "extra": (lambda s: {**s, "g_a.9.weight": torch.zeros(3)}, r"unexpected g_a\.9\.weight"),
    "both names": (lambda s: {**s, "entropy_bottleneck._bias0": torch.zeros(8, 3, 1)}, "unexpected .*_bias0"),
    "transposed": (lambda s: {**s, "g_a.6.weight": s["g_a.6.weight"].transpose(0, 1)}, "misshapen"),
    "transposed gamma": (lambda s: {**s, "g_a.1.gamma": s["g_a.1.gamma"][:4]}, r"misshapen g_a\.1\.gamma"),
    "a number": (lambda s: {**s, "g_a.0.weight": torch.tensor(1.0)}, "widths cannot be read"),
    "integers": (lambda s: {**s, "h_s.0.bias": s["h_s.0.bias"].long()}, r"wrong type h_s\.0\.bias int64"),
    "code": (lambda s: {**s, "hook": Surprise()}, "wants to run .*print"),
    "another network": (lambda s: {"weight": torch.zeros(3, 3)}, "is missing"),
    "truncated": (lambda s: b"truncated", "ends too early"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_layout_is_refused_by_name_and_nothing_is_stored(
    kind: str, small: State, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, path = WRONG[kind][0](small), tmp_path / "weights.pth.tar"
    torch.save(small if isinstance(content, bytes) else content, path)
    if isinstance(content, bytes):
        path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=WRONG[kind][1]) as caught:
        models.import_file(models.find_one("bmshj2018-hyperprior-1"), path)
    assert "weights.pth.tar" in caught.value.message
    assert not [found for found in cache.rglob("*") if found.is_file()]
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(("weights", "quality"), [("bmshj2018-hyperprior", 8), ("mbt2018-mean", 1)])
def test_published_weights_that_are_not_here_name_both_commands(
    idem: Callable[..., Any], photo: Path, tmp_path: Path, weights: str, quality: int
) -> None:
    chosen = ("--codec", "hyperprior", "--set", f"codec.weights={weights}")
    result = idem("encode", photo, "-o", tmp_path / "photo.idem", *chosen, "--quality", quality)
    told = " ".join(result.stderr.split())
    assert result.exit_code == 4
    assert f"`idem models pull {weights}-{quality}`" in told
    assert f"`idem models import {weights}-{quality} FILE`" in told
    result = idem("encode", photo, "-o", tmp_path / "photo.idem", *chosen, "--quality", 9)
    assert result.exit_code == 2
    assert "1, 2, 3, 4, 5, 6, 7, 8" in result.stderr
