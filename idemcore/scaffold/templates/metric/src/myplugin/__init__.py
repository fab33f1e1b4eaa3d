"""A metric for idem, described. Light: the metric itself is imported at first use."""

from __future__ import annotations

from idemcore.hookspecs import MetricSpec, hookimpl


@hookimpl
def idem_metrics() -> list[MetricSpec]:
    return [
        MetricSpec(
            name="my-plugin",
            api=1,
            target="myplugin.metric:MeanAbsoluteError",
            summary="mean absolute error to the original",
            kind="image",  # one value an image; "set" is one value of all images together
            direction="lower",  # which is better
            range="0..255 grey levels",
        )
    ]
