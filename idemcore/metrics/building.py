"""From the names that a user typed to metrics that are ready, and reasons for those that are not. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..errors import MissingError, UsageError
from ..hookspecs import MetricSpec
from ..plugins.catalogue import Catalogue, import_target, load_catalogue
from ..plugins.selection import configure
from ..protocols import Metric

if TYPE_CHECKING:
    from ..runtime import Runtime


def build(
    names: Sequence[str],
    runtime: Runtime,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    catalogue: Catalogue | None = None,
) -> tuple[list[Metric], dict[str, str]]:
    """The metrics that can be built, in order, and for each other name what is missing and what would bring it.

    `NAME:ARGUMENT` sets the spec's `argument`, e.g. `fd:timm/resnet18`; `settings` are by name as typed. Raises
    UsageError for a name or setting that cannot be right.
    """
    catalogue = catalogue or load_catalogue()
    built, missing = list[Metric](), dict[str, str]()
    for name in dict.fromkeys(names):
        spec, values = find(catalogue, name)
        config = configure(spec, {**values, **(settings or {}).get(name, {})}, name)
        try:
            metric: Metric = import_target(spec.target)(config, runtime)
        except MissingError as error:
            missing[name] = str(error)
            continue
        metric.name, metric.spec = name, spec
        built.append(metric)
    return built, missing


def find(catalogue: Catalogue, name: str) -> tuple[MetricSpec, dict[str, str]]:
    """The spec that `NAME`, `distribution:NAME` or `NAME:ARGUMENT` means, and the setting that the argument is."""
    base, colon, argument = name.partition(":")
    parametric = {spec.name: spec for _, spec in catalogue.specs("metric") if cast(MetricSpec, spec).argument}
    if colon and base in parametric:
        if not argument:
            raise UsageError(f"Metric '{name}' ends after its colon.", f"See `idem metrics info {base}`.")
        spec = cast(MetricSpec, parametric[base])
        return spec, {spec.argument: argument}
    return cast(MetricSpec, catalogue.resolve("metric", name)), {}
