"""masg-sam: from a handful of labelled scans to a trained segmenter."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Box",
    "CaseResult",
    "Click",
    "Comparison",
    "Config",
    "Evaluation",
    "MasgSam",
    "RoughMask",
    "Segmentation",
    "Session",
    "TrainingCheck",
    "check",
    "compare",
    "convert",
    "describe",
    "evaluate",
    "load_config",
    "predict",
    "report",
    "train",
]
_HOMES = {
    "Box": "inference.prompting",
    "Click": "inference.prompting",
    "Comparison": "evaluation.compare",
    "Config": "config",
    "Evaluation": "evaluation.scores",
    "RoughMask": "inference.prompting",
    "Segmentation": "inference.segmentation",
    "Session": "inference.session",
    "TrainingCheck": "data.check",
    "load_config": "config",
}  # of the others: api

if TYPE_CHECKING:
    from masg_sam.api import (
        CaseResult,
        MasgSam,
        check,
        compare,
        convert,
        describe,
        evaluate,
        predict,
        report,
        train,
    )
    from masg_sam.config import Config, load_config
    from masg_sam.data.check import TrainingCheck
    from masg_sam.evaluation.compare import Comparison
    from masg_sam.evaluation.scores import Evaluation
    from masg_sam.inference.prompting import Box, Click, RoughMask
    from masg_sam.inference.segmentation import Segmentation
    from masg_sam.inference.session import Session


def __getattr__(name: str) -> Any:
    """A public name, imported when first used, so that ``import masg_sam`` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
