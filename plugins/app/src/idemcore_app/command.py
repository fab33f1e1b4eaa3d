"""`idem app`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where photographs and results are kept.  [default: idem/app in your folder of user data]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port of the page.  [default: that of last time, or a free one]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Other machines reach the page only with e.g. --host 0.0.0.0.",
)
@click.option("--no-browser", is_flag=True, help="Print the address, but open no browser.")
@click.option(
    "--max-megabytes",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    metavar="N",
    help="Largest file that the page takes.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps or xpu.")
@click.option("--precision", default="auto", show_default=True, help="Precision of the networks: auto, fp32 or bf16.")
@click.option(
    "--tile",
    type=click.IntRange(min=1),
    metavar="N",
    help="Longest side, in pixels, that a network sees at once; smaller needs less memory.",
)
def app(
    folder: Path | None, port: int | None, host: str, no_browser: bool, max_megabytes: int, device: str, precision: str,
    tile: int | None,
) -> None:  # fmt: skip
    """Restore photographs in the browser.

    Opens a page on this machine: drop JPEGs on it, watch them restored, compare, and download PNGs with certificates.
    Nothing leaves the machine. Closing the page stops nothing; Ctrl-C here does, and the next start resumes.
    """
    from .serving import Serving, default_folder

    runtime = {"device": device, "precision": precision, "tile": tile}
    Serving(folder or default_folder(), host, port, runtime, max_megabytes * 10**6).run(browser=not no_browser)
