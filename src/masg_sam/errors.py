"""Typed errors: each says which file, what was found, what was expected and how to mend it.

Every :class:`InputError` means the call or the input is wrong (exit status 2 of ``masg-sam``); any other
:class:`MasgSamError` means the work failed inside (exit status 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LISTED = 5  # names in a message
LONGEST = 500  # characters of a line of it


class MasgSamError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class InputError(MasgSamError):
    """The call or the input is wrong, and the user can mend it.

    Args:
        problem: one sentence that names what is wrong.
        path: the file or folder concerned.
        found: what was there.
        expected: what should have been there.
        mend: what the user can do about it.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        path: str | Path | None = None,
        found: object = None,
        expected: object = None,
        mend: str | None = None,
    ) -> None:
        self.problem, self.path, self.found, self.expected, self.mend = problem, path, found, expected, mend
        lines = [f"{_cut(path)}: {_cut(problem)}" if path is not None else _cut(problem)]
        for name, value in (("found", found), ("expected", expected), ("fix", mend)):
            if value is not None:
                lines.append(f"  {name + ':':<10}{_cut(value)}")
        super().__init__("\n".join(lines))


class ConfigError(InputError):
    """A setting is unknown, of the wrong type, or does not go with another one."""


class LayoutError(InputError):
    """A folder is in no layout we know, or a pair of image and label is incomplete."""


class ImageError(InputError):
    """An image or label file cannot be read, or its voxels cannot be used."""


class GeometryError(InputError):
    """Image and label, or the channels of a case, do not lie on the same grid."""


class LabelError(InputError):
    """A label holds values that name no class, or nothing at all."""


class DatasetError(InputError):
    """Several things in a dataset are wrong.

    Attributes:
        errors: each by itself.
    """

    errors: tuple[InputError, ...] = ()


class WeightsError(InputError):
    """Pre-trained weights are missing, damaged, or not those of the model asked for."""


class CheckpointError(InputError):
    """A run folder or checkpoint is missing, damaged, or not ours."""


class OutputError(InputError):
    """The place to write to cannot be used."""


class WriteError(OutputError):
    """A file could not be written: the disk is full, say, or the folder lets nobody write."""


class ServerError(InputError):
    """A PACS does not answer, refuses, or does not have what is asked for."""


class TrainingError(MasgSamError):
    """Training broke down: a loss that is not finite, say."""


def together(errors: Sequence[InputError], path: str | Path | None = None) -> InputError:
    """The one error there is; of several, a :class:`DatasetError` that tells them all.

    Args:
        errors: one at least.
        path: of the dataset.
    """
    if len(errors) == 1:
        return errors[0]
    error = DatasetError(
        f"{len(errors)} errors in the dataset",
        path=path,
        found="\n" + "\n".join(map(str, errors)),
        mend="mend each of these, and call again",
    )
    error.errors = tuple(errors)
    return error


def few(names: Sequence[str]) -> str:
    """The first five names, and how many more there are, for messages."""
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _cut(value: object) -> str:
    """A file may hold names of any length; a message does not."""
    lines = str(value).split("\n")
    return "\n".join(line if len(line) <= LONGEST else line[:LONGEST] + " ..." for line in lines)
