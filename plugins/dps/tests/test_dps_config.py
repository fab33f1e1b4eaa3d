"""Settings out of range are refused by name, before anything runs."""

from __future__ import annotations

import pytest

from idemcore_dps import config

WRONG = [
    ("CellConfig", {"steps": 0}),
    ("CellConfig", {"margin": 0.6}),
    ("CellConfig", {"margin": -0.1}),
    ("CellConfig", {"sigma_min": 0.0}),
    ("CellConfig", {"rho": 0.5}),
    ("CellConfig", {"eta": -1.0}),
    ("CellConfig", {"eta": 1.5}),
    ("CellConfig", {"start": -1.0}),
    ("CellConfig", {"start": float("nan")}),
    ("DPSConfig", {"steps": 0}),
    ("DPSConfig", {"zeta": -0.1}),
    ("DPSConfig", {"constraint": "pixel"}),
    ("DPSConfig", {"tries": 0}),
    ("DPSConfig", {"enough": -1.0}),
    ("DPSConfig", {"growth": -1.0}),
    ("MCGConfig", {"steps": 0}),
    ("MCGConfig", {"zeta": -0.1}),
    ("DSGConfig", {"steps": 0}),
    ("DSGConfig", {"guidance_rate": 1.1}),
    ("DSGConfig", {"guidance_rate": -0.1}),
    ("DSGConfig", {"interval": 0}),
    ("DSGConfig", {"constraint": "box"}),
    ("DiffPIRConfig", {"steps": 0}),
    ("DiffPIRConfig", {"lambda_": -1.0}),
    ("DiffPIRConfig", {"sigma_n": -1.0}),
    ("DiffPIRConfig", {"zeta": 1.1}),
    ("DiffPIRConfig", {"inner_steps": 0}),
    ("DiffPIRConfig", {"schedule": "cubic"}),
    ("DiffPIRConfig", {"constraint": ""}),
    ("MPGDConfig", {"steps": 0}),
    ("MPGDConfig", {"c": -0.5}),
    ("MPGDConfig", {"eta": 1.1}),
    ("MPGDConfig", {"constraint": "x"}),
    ("BackprojConfig", {"steps": 0}),
    ("BackprojConfig", {"start": 0}),
    ("BackprojConfig", {"start": 1001}),
    ("BackprojConfig", {"eta": 1.1}),
    ("BackprojConfig", {"eta_b": -0.1}),
    ("DDNMConfig", {"steps": 0}),
    ("DDNMConfig", {"eta": 1.1}),
    ("DDNMConfig", {"travel_length": 0}),
    ("DDNMConfig", {"travel_repeat": 0}),
    ("DAPSConfig", {"steps": 0}),
    ("DAPSConfig", {"ode_steps": 0}),
    ("DAPSConfig", {"langevin_steps": -1}),
    ("DAPSConfig", {"sigma_max": 0.0}),
    ("DAPSConfig", {"sigma_min": -1.0}),
    ("DAPSConfig", {"sigma_ode": 0.0}),
    ("DAPSConfig", {"tau": 0.0}),
    ("DAPSConfig", {"rate": float("nan")}),
    ("FastConfig", {"steps": 0}),
    ("FastConfig", {"level": -1.0}),
    ("FastConfig", {"eta": 1.5}),
    ("FastConfig", {"start_at": " "}),
    ("DCICConfig", {"steps": 0}),
    ("DCICConfig", {"k_d": 1.1}),
    ("DCICConfig", {"k_p": -0.1}),
    ("DCICConfig", {"inner_steps": 0}),
    ("DCICConfig", {"schedule": "cubic"}),
]


@pytest.mark.parametrize(("name", "values"), WRONG, ids=lambda v: v if isinstance(v, str) else next(iter(v)))
def test_settings_out_of_range_are_refused_by_name(name: str, values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        getattr(config, name)(**values)


def test_published_defaults() -> None:
    """Xu et al. 2024 (dps, mcg), Yang et al. 2024, Zhu et al. 2023, He et al. 2024, Kawar et al. 2022; Wang et al. 2023
    and Zhang et al. 2025 (ddnm, daps).
    """
    assert config.DPSConfig() == config.DPSConfig(1000, 0.6, "image", tries=1, growth=1.5)
    assert config.MCGConfig() == config.MCGConfig(1000, 0.6)
    assert config.DSGConfig() == config.DSGConfig(100, 0.1, 1)
    assert config.DDNMConfig() == config.DDNMConfig(100, 0.85, 1, 1)
    assert config.DAPSConfig() == config.DAPSConfig(200, 5, 100, 100.0, 0.1, 0.01, tau=0.01, rate=1e-4)
    assert config.DiffPIRConfig() == config.DiffPIRConfig(100, 1.0, 0.001, 0.1, 1, "quadratic")
    assert (config.MPGDConfig().steps, config.MPGDConfig().eta) == (100, 0.5)
    assert config.BackprojConfig() == config.BackprojConfig(20, 300, 1.0, 0.4)
    # A norm of 20 over 3x256x256 samples in [-1,1] is where the published protocol would try again.
    assert pytest.approx(10 ** (-config.DPSConfig().enough / 20), rel=1e-3) == 20 / 2 / (3 * 256 * 256) ** 0.5
