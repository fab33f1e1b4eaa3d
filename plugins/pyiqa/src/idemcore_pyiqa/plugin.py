"""What the plugin provides: any metric of pyiqa of single images, by its name. Light: imports no pyiqa."""

from __future__ import annotations

from idemcore.hookspecs import MetricSpec, hookimpl


@hookimpl
def idem_metrics() -> list[MetricSpec]:
    return [
        MetricSpec(
            name="pyiqa",
            api=1,
            target="idemcore_pyiqa.metric:PyiqaMetric",
            summary="pyiqa:NAME, a metric of pyiqa: musiq, maniqa, clipiqa+, niqe, lpips, dists and more",
            config="idemcore_pyiqa.config:PyiqaConfig",
            argument="metric",
            range="as pyiqa has it",
            source="Chen and Mo, IQA-PyTorch; each metric's own paper",
        )
    ]
