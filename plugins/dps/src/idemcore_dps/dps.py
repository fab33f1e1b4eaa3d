"""DPS: diffusion posterior sampling, as published for perceptual decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Cell, DiffusionGenerator, InversionSolver, Solution, Step

from .config import DPSConfig
from .schedules import alpha_from_sigma, linear_ddpm, respaced


def timestep_levels(generator: DiffusionGenerator, steps: int) -> Tensor:
    """Noise levels [steps], largest first: the DDPM's own, or DDPM's linear ones that a continuous network knows."""
    if generator.sigmas is not None:
        return respaced(generator.sigmas.cpu(), steps)
    levels = linear_ddpm()
    inside = (levels >= generator.sigma_min) & (levels <= generator.sigma_max)
    return respaced(levels[inside], steps)


class DPS(InversionSolver[DiffusionGenerator]):
    """Chung et al., ICLR 2023, alg. 1, with F(x) = g(f(x)) as the operator (Xu et al., ICLR 2024).

    Each step draws x' from the ancestral posterior N(mean(x_t, x0), variance) of the respaced DDPM, with the network's
    own variance where it has learned one, then x_{t-1} = x' - zeta * grad_{x_t} ||g(y) - g(f(x0))||_2, in [-1,1] units.
    The gradient passes straight through the quantiser and backwards through decoder, encoder and denoiser.
    """

    def __init__(self, config: DPSConfig) -> None:
        self.config = config

    def solve(
        self, cell: Cell, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        sigmas = timestep_levels(generator, self.config.steps)
        abar = alpha_from_sigma(sigmas)
        target = cell.target * 2 - 1
        x = noise.like(cell.centre)
        for i, sigma in enumerate(sigmas.tolist()):
            below = abar[i + 1] if i + 1 < len(abar) else torch.ones((), dtype=abar.dtype)
            with torch.enable_grad():
                x_t = x.detach().requires_grad_()
                denoised, share = generator.denoise_and_variance((x_t / abar[i].sqrt().item() + 1) / 2, sigma)
                x0 = (denoised * 2 - 1).clamp(-1, 1)
                residual = (target - (cell.measure((x0 + 1) / 2) * 2 - 1)).flatten(1).norm(dim=1)
                (gradient,) = torch.autograd.grad(residual.sum(), x_t)
            mean, deviation = posterior(x_t.detach(), x0.detach(), share, float(abar[i]), float(below))
            x = mean - self.config.zeta * gradient
            if i + 1 < len(sigmas):
                x = x + deviation * noise.like(x)
            if callback:
                rms = float(residual.detach().mean()) / (2 * target[0].numel() ** 0.5)
                callback(Step(i, len(sigmas), sigma, ((x0 + 1) / 2).detach(), rms, i + 1))
        return Solution(((x + 1) / 2).clamp(0, 1), nfe=len(sigmas), backwards=len(sigmas))


def posterior(x_t: Tensor, x0: Tensor, share: Tensor | None, abar: float, below: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(x_{t-1} | x_t, x0) (Ho et al. 2020, eq. 7), `below` being abar_{t-1}.

    `share` [B,3,H,W] mixes log beta_t (1) and log beta~_t (0), Nichol & Dhariwal 2021, eq. 15; None means beta~_t.
    """
    beta = 1 - abar / below
    mean = (below**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - below) * x_t) / (1 - abar)
    small = max(beta * (1 - below) / (1 - abar), 1e-20)
    if share is None:
        return mean, torch.as_tensor(small**0.5, device=x_t.device)
    log_variance = share.detach() * torch.tensor(beta).log() + (1 - share.detach()) * torch.tensor(small).log()
    return mean, (log_variance / 2).exp()
