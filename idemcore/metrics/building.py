"""From the names that a user typed to metrics that are ready, and reasons for those that are not. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..errors import MissingError, UsageError
from ..hookspecs import MetricSpec
from ..plugins.catalogue import Catalogue, import_target
from ..plugins.selection import configure
from ..protocols import Metric

if TYPE_CHECKING:
    from ..runtime import Runtime


@dataclass(frozen=True)
class ChosenMetric:
    """A metric with its settings, before its weights are loaded. Another process can build it, too."""

    name: str
    """As the user typed it."""
    spec: MetricSpec
    config: Any
    """An instance of the spec's config, or None."""


def choose_metrics(
    catalogue: Catalogue, names: Iterable[str], settings: Mapping[str, Mapping[str, Any]] | None = None
) -> list[ChosenMetric]:
    """Each once, in order. `NAME:ARGUMENT` sets the spec's `argument`, e.g. `fd:timm/resnet18`.

    `settings` are by name as typed. Raises UsageError for a name or setting that cannot be right.
    """
    chosen = list[ChosenMetric]()
    for name in dict.fromkeys(names):
        spec, values = _find(catalogue, name)
        chosen.append(ChosenMetric(name, spec, configure(spec, {**values, **(settings or {}).get(name, {})}, name)))
    return chosen


def build(chosen: Iterable[ChosenMetric], runtime: Runtime) -> tuple[list[Metric], dict[str, str]]:
    """The metrics that can be built, in order, and for each other name what is missing and what would bring it."""
    built, missing = list[Metric](), dict[str, str]()
    for one in chosen:
        try:
            metric: Metric = import_target(one.spec.target)(one.config, runtime)
        except MissingError as error:
            missing[one.name] = str(error)
            continue
        metric.name, metric.spec = one.name, one.spec
        built.append(metric)
    return built, missing


def _find(catalogue: Catalogue, name: str) -> tuple[MetricSpec, dict[str, str]]:
    """The spec that `NAME`, `distribution:NAME` or `NAME:ARGUMENT` means, and the setting that the argument is."""
    base, colon, argument = name.partition(":")
    parametric = {spec.name: spec for _, spec in catalogue.specs("metric") if cast(MetricSpec, spec).argument}
    if colon and base in parametric:
        if not argument:
            raise UsageError(f"Metric '{name}' ends after its colon.", f"See `idem metrics info {base}`.")
        spec = cast(MetricSpec, parametric[base])
        return spec, {spec.argument: argument}
    return cast(MetricSpec, catalogue.resolve("metric", name)), {}
