"""Writes combinations.md: which codec, generator and solver work together. `python docs/combinations.py`"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from idemcore.adapters.specs import ADAPTERS, adapter_for
from idemcore.errors import UnsupportedCombination
from idemcore.plugins.catalogue import Catalogue, load_catalogue
from idemcore.plugins.registry import known_plugins
from idemcore.plugins.selection import check_combination

HEAD = """\
# Which codec, generator and solver work together

Written by `python docs/combinations.py` from what the plugins of this repository say of themselves, with the default
settings of every solver. The tests `tests/test_matrix.py` and `tests/test_matrix_field.py` run every
codec with every solver and small generators: the bundled layouts, DRUNet, restorers that keep an image's size and that
enlarge it by four, pipelines of `diffusers` that predict noise, v, the image or a flow or are preconditioned as in EDM,
and a latent pipeline. `diffusers` is one row: what a network predicts changes nothing in what it can do. `drunet` is
refused for `pulse`, `ilo` and `langevin` once it is loaded: it knows too little noise to draw from noise alone.

- **native**: the solver is one for this family of generators, or needs none.
- **adapter**: it runs by way of {adapters}; see [adapters.md](adapters.md).
- **refused**: before anything is loaded, for a reason below, with what would work instead.
"""


def page() -> str:
    """The whole text."""
    catalogue = load_catalogue()
    kinds = {kind: _ours(catalogue, kind) for kind in ("codec", "generator", "solver")}
    rows, refusals = [], {}
    for codec, generator in product(kinds["codec"], kinds["generator"]):
        cells = []
        for solver in kinds["solver"]:
            reason = _refusal(codec, generator, solver, catalogue)
            if reason:
                refusals.setdefault((solver.name, generator.name, reason), []).append(codec.name)
            cells.append("**refused**" if reason else "adapter" if adapter_for(generator, solver) else "native")
        rows.append([codec.name, generator.name, *cells])
    head = ["codec", "generator", *(solver.name for solver in kinds["solver"])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
    text = HEAD.format(adapters=" or ".join(f"`{adapter.name}`" for adapter in ADAPTERS))
    return f"{text}\n{table}\n\n## Refusals\n\n{_listed(refusals)}"


def _ours(catalogue: Catalogue, kind: str) -> list[Any]:
    """Specs of this repository's plugins, sorted by name."""
    return [spec for owner, spec in catalogue.specs(kind) if owner in known_plugins()]


def _refusal(codec: Any, generator: Any, solver: Any, catalogue: Catalogue) -> str:
    """What idem says, from the reason on; empty if the three work together."""
    try:
        check_combination(codec, generator, solver, catalogue)
    except UnsupportedCombination as error:
        return f"{error.message.partition(': ')[2]} {error.hint}"
    return ""


def _listed(refusals: dict[tuple[str, str, str], list[str]]) -> str:
    lines = [
        f"- **{solver} on {generator}**, with any of {', '.join(codecs)}: {reason}\n"
        for (solver, generator, reason), codecs in refusals.items()
    ]
    return "".join(lines) or "There are none.\n"


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
