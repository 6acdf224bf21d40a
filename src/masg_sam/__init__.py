"""masg-sam: from a handful of labelled scans to a trained segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Config", "MasgSam", "check", "compare", "convert", "evaluate", "predict", "report", "train"]

if TYPE_CHECKING:
    from masg_sam.api import MasgSam, check, compare, convert, evaluate, predict, report, train
    from masg_sam.config import Config


def __getattr__(name: str) -> Any:
    """The public verbs, imported when first used, so that ``import masg_sam`` costs nothing."""
    if name == "Config":
        from masg_sam.config import Config

        return Config
    if name in __all__:
        from masg_sam import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
