"""The versions of what decides a result."""

from __future__ import annotations

import platform
from importlib.metadata import version

from masg_sam import __version__

PACKAGES = ("torch", "transformers", "monai", "accelerate", "peft", "numpy")


def package_versions() -> dict[str, str]:
    """Of this package, Python, and the packages that compute, by name."""
    return {"masg-sam": __version__, "python": platform.python_version()} | {name: version(name) for name in PACKAGES}
