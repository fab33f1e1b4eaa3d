"""Experiments of the registry: what is compared, with published or bundled models, on which kind of images.

Light: imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import MissingError, UsageError, nearest
from ..plugins.catalogue import Catalogue
from ..plugins.registry import registry_folder
from ..sweeps.combinations import resolve_all
from ..sweeps.grid import Definition, load_yaml, parse_definition

MODELS = ("published", "bundled")
DOMAINS = ("photos", "faces")
KEYS = ("title", "order", "about", "claims", *MODELS)
STUDY_KEYS = ("minutes", "baselines")


@dataclass(frozen=True)
class Variant:
    """An experiment with some models on some kind of images; the images themselves are the user's."""

    models: str
    """published or bundled."""
    domain: str
    """photos or faces."""
    definition: Definition
    minutes: float | None = None
    """What it took on two CPU cores; None if that was not measured."""
    baselines: tuple[str, ...] = ()
    """Formats without a cell that are measured on the same images, by their names in `evaluation.baselines`."""


@dataclass(frozen=True)
class Experiment:
    """One of a paper's experiments."""

    name: str
    title: str
    about: str
    claims: tuple[str, ...]
    """Names in `claims.CLAIMS` of the claims that it is evidence for."""
    variants: tuple[Variant, ...]

    def choose(self, domain: str, catalogue: Catalogue, bundled: bool) -> tuple[Variant | None, str]:
        """The variant of published models if their weights are here, else that of bundled ones; and why not the first.

        None if the experiment has nothing to do with this kind of images.
        """
        mine = {variant.models: variant for variant in self.variants if variant.domain == domain}
        reason = "" if bundled or "published" not in mine else lacking(mine["published"].definition, catalogue)
        if "published" in mine and not bundled and not reason:
            return mine["published"], ""
        return mine.get("bundled"), reason


@dataclass(frozen=True)
class Study:
    """An experiment that will be run: with these models, on these images."""

    name: str
    experiment: Experiment
    variant: Variant
    definition: Definition
    dataset: str
    """What the images are called."""
    not_published: str = ""
    """Why the published models are not those used, unless nobody asked for them."""

    @property
    def title(self) -> str:
        """It says whose models are shown."""
        models = "published checkpoints" if self.variant.models == "published" else "bundled models, not the paper's"
        return f"{self.experiment.title} · {self.dataset} · {models}"


def shipped_experiments() -> list[str]:
    """Names of the collections of `registry/experiments`."""
    return sorted(path.name for path in (registry_folder() / "experiments").iterdir() if path.is_dir())


def load_experiments(name: str) -> list[Experiment]:
    """The experiments of `registry/experiments/NAME`, or of a folder of such files, in order.

    Raises UsageError for a name that is neither, and for a file that is not an experiment.
    """
    known = shipped_experiments()
    folder = registry_folder() / "experiments" / name if name in known else Path(name)
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UsageError(f"There are no experiments '{name}'.", f"{nearest(name, known)} Known: {', '.join(known)}.")
    found = [(content := load_yaml(path), read_experiment(path, content)) for path in files]
    return [experiment for _, experiment in sorted(found, key=lambda pair: pair[0].get("order", 99))]


def read_experiment(path: Path, content: Any) -> Experiment:
    """Raises UsageError naming file and key."""
    if not isinstance(content, dict) or set(content) - set(KEYS) or "title" not in content:
        raise UsageError(
            f"{path} is not an experiment.", f"It is a mapping with title and any of {', '.join(KEYS[1:])}."
        )
    variants = []
    for models in MODELS:
        for domain, sweep in (content.get(models) or {}).items():
            if domain not in DOMAINS:
                raise UsageError(
                    f"{path}, {models}: '{domain}' is not a kind of images.", f"Use {' or '.join(DOMAINS)}."
                )
            variants.append(_variant(path, models, domain, sweep))
    about, claims = str(content.get("about", "")), tuple(content.get("claims", []))
    return Experiment(path.stem, str(content["title"]), " ".join(about.split()), claims, tuple(variants))


def lacking(definition: Definition, catalogue: Catalogue) -> str:
    """What of the definition's weights or plugins is not here, with what would bring it; "" if nothing is."""
    try:
        configured, _ = resolve_all(catalogue, definition.points())
        for configuration, _ in configured:
            _ = configuration.facts
    except MissingError as error:
        return str(error)
    return ""


def scaled(definition: Definition, scale: float) -> Definition:
    """With so many times the images, two at least: of fewer there are no intervals."""
    return replace(definition, limit=max(2, round(definition.limit * scale)) if definition.limit else None)


def studies(
    experiments: Sequence[Experiment],
    catalogue: Catalogue,
    datasets: Mapping[str, Sequence[str]],
    bundled: bool = False,
    scale: float = 1.0,
) -> tuple[list[Study], dict[str, str]]:
    """What can be run on `datasets` (places by kind of images), and by name why others cannot."""
    found, skipped = list[Study](), dict[str, str]()
    for experiment in experiments:
        for domain in DOMAINS:
            variant, reason = experiment.choose(domain, catalogue, bundled)
            name = f"{experiment.name}-{domain}"
            if variant is None:
                continue
            if missing := lacking(variant.definition, catalogue):
                skipped[name] = missing
            elif not datasets.get(domain):
                skipped[name] = f"No images were given: --{'images' if domain == 'photos' else domain} says which."
            else:
                places = datasets[domain]
                for place in places:
                    dataset = Path(place).stem
                    definition = scaled(replace(variant.definition, images=(place,)), scale)
                    own = name if len(places) == 1 else f"{name}-{dataset}"
                    found.append(Study(own, experiment, variant, definition, f"{domain}, {dataset}", reason))
    return found, skipped


def _variant(path: Path, models: str, domain: str, sweep: Any) -> Variant:
    if not isinstance(sweep, dict):
        raise UsageError(f"{path}, {models}, {domain}: expected a sweep.", "See docs/sweeps.md.")
    own = {key: sweep[key] for key in STUDY_KEYS if key in sweep}
    try:
        definition = parse_definition({key: value for key, value in sweep.items() if key not in own})
    except UsageError as error:
        raise UsageError(f"{path}, {models}, {domain}: {error.message}", error.hint) from error
    return Variant(models, domain, definition, own.get("minutes"), tuple(own.get("baselines", ())))
