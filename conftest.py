"""Of all tests: one thread a process, set before the first import of torch, for this process and those it starts.

Images here are small: a second thread gains nothing, and on a machine with other work each waits for the other.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
