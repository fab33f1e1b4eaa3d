"""Of all tests: one thread a process, set before the first import of torch, for this process and those it starts.

Images here are small, and on a machine with other work each thread waits for the other: with two threads on two cores,
one of them busy, the tests of the solvers and the toy took three times as long.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has its background jobs ignore the first, `nohup` the second; so would what tests start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
