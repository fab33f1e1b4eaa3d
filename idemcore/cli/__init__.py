"""The command line: one file a command, imported when it is invoked."""

from __future__ import annotations

from .group import LazyGroup

main = LazyGroup(
    name="idem",
    targets={
        "run": ("idemcore.cli.run:run", "Encode images, decode them with a prior, compare and certify."),
        "encode": ("idemcore.cli.encode:encode", "Image to bitstream."),
        "decode": ("idemcore.cli.decode:decode", "Bitstream to image; needs nothing but the file."),
        "verify": ("idemcore.cli.verify:verify", "Does this image re-encode to these bytes? Exit 0 or 3."),
        "inspect": ("idemcore.cli.inspect:inspect", "Describe a bitstream or a certificate."),
        "sample": ("idemcore.cli.sample:sample", "Draw images from a prior alone."),
        "sweep": ("idemcore.cli.sweep:sweep", "A grid of configurations over images; resumes where it stopped."),
        "store": ("idemcore.cli.store:store", "Manage stores of sweeps: list, prune, merge, filter."),
        "eval": ("idemcore.cli.eval:evaluate_", "Measure configurations over a folder of images."),
        "baseline": ("idemcore.cli.baseline:baseline", "Curves of WebP, AVIF, JPEG XL, JPEG 2000 and JPEG."),
        "compare": ("idemcore.cli.compare:compare", "BD-rate and paired differences of two results."),
        "bench": ("idemcore.cli.bench:bench", "Compare what solvers cost."),
        "report": ("idemcore.cli.report:report", "Show a sweep as a page, or as tables and curves."),
        "reproduce": ("idemcore.cli.reproduce:reproduce", "A paper's experiments, and which of its claims hold."),
        "train": ("idemcore.cli.train:train", "Train a plugin's model on a folder of images."),
        "codecs": ("idemcore.cli.listing:codecs", "List codecs, or describe one."),
        "generators": ("idemcore.cli.listing:generators", "List priors over images, or describe one."),
        "solvers": ("idemcore.cli.listing:solvers", "List solvers, or describe one."),
        "metrics": ("idemcore.cli.listing:metrics", "List metrics, or describe one."),
        "recipes": ("idemcore.cli.listing:recipes", "List recipes of `idem train`, or describe one."),
        "engines": ("idemcore.cli.listing:engines", "List engines of sweeps, or describe one."),
        "plugins": ("idemcore.cli.plugins:plugins", "List plugins with their state, or describe one."),
        "models": ("idemcore.cli.models:models", "Weights: list, pull, import, verify."),
        "doctor": ("idemcore.cli.doctor:doctor", "Check the installation, and describe it for a bug report."),
    },
    help="""Decode JPEGs and learned bitstreams into realistic images that re-encode to the very same bytes.

    \b
    idem run photo.png --quality 10     encode, decode and compare, with a certificate
    idem decode old.jpg                 any bitstream, without its original
    """,
    epilog="Exit: 0 ok, 1 failed, 2 usage, 3 not exact or damaged, 4 something missing, 5 runs of a sweep failed, "
    "130 interrupted. IDEM_DEBUG=1 shows the traceback of an error.",
)
