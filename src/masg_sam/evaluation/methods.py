"""What ``masg-sam compare`` is given: methods by name, each a folder of masks or an evaluation in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from masg_sam.errors import ConfigError, InputError
from masg_sam.evaluation.evaluate import evaluate
from masg_sam.evaluation.scores import Evaluation


def name_methods(items: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=PATH`` or ``PATH``; a path alone is called by its last part, or its last two where that is taken.

    Raises:
        ConfigError: two methods of one name.
    """
    given = [("", item) if Path(item).exists() else _split(item) for item in items]
    last = Counter(_last(Path(path)) for name, path in given if not name)
    named = [(name or _name(Path(path), last), Path(path)) for name, path in given]
    if double := [name for name, count in Counter(name for name, _ in named).items() if count > 1]:
        raise ConfigError(
            "two methods of one name", found=", ".join(double), mend="name them: A=folder/one B=folder/two"
        )
    return dict(named)


def evaluate_methods(
    methods: Mapping[str, Path], labels: Path | None, tolerance_mm: float = 2.0
) -> dict[str, Evaluation]:
    """Evaluate each folder of masks, and read each evaluation from its file.

    Args:
        methods: name to a folder of masks, a mask, or a JSON file of ``masg-sam evaluate --json``.
        labels: what masks are compared with; JSON files need none.
        tolerance_mm: of the surface Dice, for masks.

    Raises:
        InputError: masks without labels, or whatever :func:`evaluate` raises.
    """
    found = {}
    for name, path in methods.items():
        if path.suffix.lower() == ".json":
            found[name] = Evaluation.read_json(path)
        elif labels is None:
            raise InputError(
                "masks, and no labels to compare them with",
                path=path,
                expected="--labels, or a JSON file of `masg-sam evaluate --json`",
                mend="add --labels LABELS",
            )
        else:
            found[name] = evaluate(path, labels, tolerance_mm=tolerance_mm)
    return found


def _split(item: str) -> tuple[str, str]:
    name, sign, path = item.partition("=")
    return (name, path) if sign and path else ("", item)


def _name(path: Path, taken: Counter[str]) -> str:
    last = _last(path)
    return last if taken[last] < 2 else f"{path.resolve().parent.name}/{last}"


def _last(path: Path) -> str:
    """The last part of a path, of a JSON file without its ending: the dot of ``method_v1.0`` is none."""
    return path.stem if path.suffix.lower() == ".json" else path.name
