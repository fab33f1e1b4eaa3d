"""`python -m idemcore.cli`."""

from . import main

main(prog_name="idem")
