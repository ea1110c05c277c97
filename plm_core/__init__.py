"""plm_core: the library behind *Pretrained language models, built and understood*.

Nothing is imported here on purpose: a chapter is re-executed when a module it really imported changes, so importing
``plm_core`` must not pull in the rest. Import the module you need:
``from plm_core.models.attention import attend``.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("plm-core")
except PackageNotFoundError:  # a source tree on sys.path without an installation
    __version__ = "0+unknown"
