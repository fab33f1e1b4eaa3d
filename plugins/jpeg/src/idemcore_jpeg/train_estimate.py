"""Recipe of `idem train jpeg-estimate`: the network of the JPEG estimate from a folder of photographs, resumable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from idemcore.errors import InputError
from idemcore.io.files import atomic_write
from idemcore.io.images import to_bytes, write_png
from idemcore.training.crops import Crops, middle
from idemcore.training.loop import Progress, autocast, process_settings
from idemcore.training.network import NetworkTraining, grid, learning_rate, psnr
from idemcore.weights.checkpoints import read_safetensors

from .config import EstimateTrainConfig
from .estimate import BUNDLED
from .estimate_data import GRID, Batch, Settings, compress, draw_pair
from .estimate_network import EstimateNetwork
from .naturalness import Naturalness, feature_distance

FLOOR = 2e-5
"""Added to mean squared errors, [-1,1] units, before their logarithm: what is nearly perfect need not get better."""
_CASES = (("4:2:0", 5), ("4:2:0", 10), ("4:2:0", 20), ("4:2:0", 40), ("4:2:0", 75), ("grey", 10), ("4:4:4", 10))
VALIDATION = tuple(Settings(*case) for case in _CASES)
VALIDATION_SIDE = 256
QUALITIES = (97, 92, 85, 75, 60, 40, 20, 10, 5, 2)
"""Of libjpeg, 4:2:0, at which the error of the estimate is measured for the weights' file; labels ascend."""
SHARE_IMAGES = 12
"""Of them, most that are looked at."""
SHOWN = 4
"""Pictures of `samples.png`, each as decoded and as estimated."""
INIT_HINT = "Give --set train.init=bundled, or a weights.safetensors of `idem train jpeg-estimate` or `ddpm`."


class EstimateTraining(NetworkTraining):
    """Least squared error of crops that libjpeg compressed, by Adam, with averaged weights.

    The loss is the mean of the logarithms of the squared errors of crops, so that a decibel is worth the same
    everywhere; where the settings say so, how natural estimates are counts too.
    """

    def __init__(self, out: Path, config: EstimateTrainConfig, device: torch.device, crops: Crops) -> None:
        super().__init__(out, config.minutes, config.save_minutes, device, config.init)
        self.config, self.crops = config, crops
        self.judge_by(crops.held_out, config.validate_minutes, config.patience)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = self._new_network()
            natural = config.perceptual > 0 or config.adversarial > 0
            self.naturalness = Naturalness(config.perceptual, config.adversarial, device) if natural else None
        self.prepare(network, config.learning_rate, torch.Generator().manual_seed(config.seed))

    def _new_network(self) -> EstimateNetwork:
        network = EstimateNetwork(tuple(self.config.channels), self.config.blocks)
        return network.to(self.device).to(memory_format=torch.channels_last)

    def initial(self, weights: str) -> EstimateNetwork:
        """From an estimate's weights, or from a photograph prior's of the same shape."""
        path = BUNDLED if weights == "bundled" else Path(weights)
        state, metadata = read_safetensors(path, INIT_HINT)
        shape = metadata.get("channels"), metadata.get("blocks")
        if shape != (json.dumps(list(self.config.channels)), str(self.config.blocks)):
            raise InputError(f"train.init={weights} is of another network than the settings.", INIT_HINT)
        network = self._new_network()
        network.start_from({name: value.float() for name, value in state.items()})
        return network

    def update(self) -> dict[str, float]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config.learning_rate, self.step, self.progress)
        batch = self._draw()
        with autocast(self.device):
            estimate = _estimate(self.network, batch)
        errors = (image - batch.clean for image in (batch.decoded, estimate))
        before, after = ((x.square().mean(dim=(1, 2, 3)) + FLOOR).log() for x in errors)
        loss = config.error * after.mean() + self._natural(estimate, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average(1 - min(config.ema, (1 + self.step) / (20 + self.step)))
        self.seen += batch.clean[:, 0].numel() / 128**2
        gain = 10 / np.log(10) * float((before - after.detach()).mean())
        return {"crops": round(self.seen), "loss": float(loss.detach()), "gain": gain}

    def _natural(self, estimate: Tensor, batch: Batch) -> Tensor | float:
        if not self.naturalness:
            return 0.0
        with autocast(self.device):
            self.naturalness.teach(estimate, batch.clean, batch.decoded)
            return self.naturalness.loss(estimate, batch.clean, batch.decoded).float()

    def state(self) -> dict[str, Any]:
        natural = {"naturalness": self.naturalness.state()} if self.naturalness else {}
        return {**super().state(), **natural}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        if self.naturalness:
            self.naturalness.load(state["naturalness"])

    def _draw(self) -> Batch:
        config, rng = self.config, np.random.default_rng(int(torch.randint(2**62, (), generator=self.rng)))
        side = config.crops[int(rng.integers(len(config.crops)))]
        count = max(1, config.pixels // side**2)
        crops = (self.crops.batch(count, side + GRID, self.rng) * 255).round().to(torch.uint8)
        return Batch.of([draw_pair(crop, side, rng) for crop in crops], self.device)

    def validate(self) -> dict[str, float]:
        """Decibels gained over libjpeg's decode on the middles of photographs that are held out.

        Where naturalness is trained for, the score is the distance of features, below 0.
        """
        gains, distances = {f"{s.sampling}_{s.quality}": list[float]() for s in VALIDATION}, list[float]()
        with self.averaged():
            for image in self.crops.held_out:
                for name, settings in zip(gains, VALIDATION, strict=True):
                    batch, estimate = self._estimated(image, settings)
                    gains[name].append(psnr(estimate, batch.clean) - psnr(batch.decoded, batch.clean))
                    if self.naturalness:
                        distances.append(float(feature_distance(self.naturalness.maps, estimate, batch.clean)))
        means = {name: sum(found) / len(found) for name, found in gains.items()}
        score = -sum(distances) / len(distances) if distances else sum(means.values()) / len(means)
        return {"score": score, **means}

    def _estimated(self, image: Tensor, settings: Settings) -> tuple[Batch, Tensor]:
        batch = Batch.of([compress(middle(image, VALIDATION_SIDE), settings)], self.device)
        with autocast(self.device):
            return batch, _estimate(self.network, batch).clamp(-1, 1)

    def error_shares(self) -> tuple[list[float], list[float]]:
        """Labels, ascending, and the rms error of the estimate there as a share of that of the decode."""
        images, labels, shares = (self.crops.held_out or self.crops.images)[:SHARE_IMAGES], [], []
        with self.averaged():
            for quality in QUALITIES:
                logarithms = []
                for image in images:
                    batch, estimate = self._estimated(image, Settings("4:2:0", quality))
                    before, after = ((x - batch.clean).square().mean() + 1e-9 for x in (batch.decoded, estimate))
                    logarithms.append(float((after / before).log()) / 2)
                labels.append(round(float(batch.label), 6))
                shares.append(round(float(np.exp(np.mean(logarithms))), 4))
        return labels, shares

    def write_weights(self) -> Path:
        """`weights.safetensors`, for `codec.estimate`, and `samples.png`: pictures as decoded, and as estimated."""
        config = self.config
        note: dict[str, Any] = {"channels": json.dumps(list(config.channels)), "blocks": str(config.blocks)}
        note |= {"crops": f"{self.seen:.0f}", "minutes": f"{self.elapsed / 60:.1f}"}
        note |= {"error_shares": json.dumps(self.error_shares())}
        tensors = {name: value.to("cpu", torch.bfloat16).contiguous() for name, value in self.ema.items()}
        path = self.out / "weights.safetensors"
        atomic_write(path, save(tensors, metadata=note))
        write_png(to_bytes((self._samples().cpu() + 1) / 2), self.out / "samples.png")
        return path

    def _samples(self) -> Tensor:
        """[1,3,H,W] in [-1,1]."""
        side, rows = min(self.config.crops), []
        with self.averaged():
            held_out = [image for image in self.crops.held_out if min(image.shape[1:]) >= side]
            for image in (held_out or self.crops.images)[:SHOWN]:
                batch, estimate = self._estimated(middle(image, side), Settings("4:2:0", 10))
                rows += [batch.decoded[0], estimate[0]]
        return grid(torch.stack(rows), columns=2)


def _estimate(network: Any, batch: Batch) -> Tensor:
    found: Tensor = network.estimate(batch.decoded, batch.planes, batch.label, batch.features)
    return found


def train(data: Path, out: Path, config: EstimateTrainConfig, device: torch.device, progress: Progress) -> Path:
    """Trains, or resumes from `out/checkpoint.pt`, until `config.minutes` of training; returns the weights' path.

    An interrupt is passed on after a last checkpoint. Raises InputError if `data` holds no usable image, or if the
    checkpoint or `config.init` does not fit; IdemError if the loss diverges.
    """
    with process_settings(config.threads):
        crops = Crops(data, max(config.crops) + GRID, config.scales, config.held_out)
        return EstimateTraining(out, config, device, crops).run(progress)
