"""The negmine server: hard-negative mining as a service."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("negmine-server")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0+unknown"
