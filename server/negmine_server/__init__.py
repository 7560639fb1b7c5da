"""The negmine server: hard-negative mining as a service."""

import os
from importlib.metadata import PackageNotFoundError, version

# Before numpy is imported: threads of ours call BLAS side by side, and its own would only contend with them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

try:
    VERSION = version("negmine-server")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0+unknown"
