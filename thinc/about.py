"""The release's name and version, readable without importing anything else."""

__title__ = "thinc"
__version__ = "8.3.100"
__release__ = True
