"""Prompts in a file: clicks, boxes and rough masks of many cases, in the voxels that a viewer counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError, model_validator

from masg_sam.data.io import label_on_grid, read_label, voxel_from_file
from masg_sam.data.volume import Volume
from masg_sam.errors import InputError
from masg_sam.files import read_json
from masg_sam.inference.prompting import Box, Click, RoughMask, UserPrompt

EXAMPLE = '{"scan_01": [{"class": "liver", "click": [95, 80, 12]}]}'

Index = Annotated[list[NonNegativeInt], Field(min_length=2, max_length=3)]


class FilePrompt(BaseModel):
    """One prompt: a class, and a click, a box or a rough mask.

    Attributes:
        name: the class; ``class`` in the file.
        click: voxel ``[i, j, k]`` of the image's own file, counted from 0; ``[column, row]`` of a picture.
        inside: whether the click is of the class; false: it is not.
        box: opposite corners in one slice, each as a click.
        mask: file of a mask on the image's grid, beside the prompt file; any value but 0 is the class.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str = Field(alias="class")
    click: Index | None = None
    inside: bool = True
    box: tuple[Index, Index] | None = None
    mask: Path | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> FilePrompt:
        if sum(kind is not None for kind in (self.click, self.box, self.mask)) != 1:
            raise ValueError("a prompt is one of click, box and mask")
        if not self.inside and self.click is None:
            raise ValueError("inside goes with a click")
        return self


class PromptFile:
    """The prompts of several cases, as a JSON file gives them.

    Args:
        path: the file: an object with a list of prompts for each case name.

    Raises:
        InputError: unreadable, or a prompt that is not well formed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        values = read_json(path, mend=f"write it like {EXAMPLE}")
        try:
            self.cases = TypeAdapter(dict[str, list[FilePrompt]]).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"prompt {' '.join(str(part) for part in first['loc'])}: {first['msg'].removeprefix('Value error, ')}",
                path=path,
                found=first["input"],
                expected=f"as in {EXAMPLE}",
                mend="see docs/how-to/prompts.md",
            ) from error

    def check(self, cases: Iterable[str], names: Sequence[str]) -> None:
        """Make sure, before anything is segmented, that the cases and classes are there.

        Args:
            cases: names of the cases to segment.
            names: classes of the model.

        Raises:
            InputError: prompts for another case or class.
        """
        known = set(cases)
        for case, prompts in self.cases.items():
            if case not in known:
                raise InputError("prompts for an unknown case", path=self.path, found=case, expected=sorted(known))
            for prompt in prompts:
                if prompt.name not in names:
                    raise InputError(
                        f"case {case}: prompt for an unknown class",
                        path=self.path,
                        found=prompt.name,
                        expected=f"one of {', '.join(names)}",
                    )

    def place(self, case: str, volume: Volume) -> list[UserPrompt]:
        """The prompts of a case, in our voxel order.

        Args:
            case: its name.
            volume: its image.

        Raises:
            InputError: a voxel outside the image, or a rough mask that cannot be read or lies on another grid.
        """
        return [self._place(prompt, volume) for prompt in self.cases.get(case, [])]

    def _place(self, prompt: FilePrompt, volume: Volume) -> UserPrompt:
        if prompt.click is not None:
            return Click(voxel_from_file(volume, prompt.click), prompt.name, prompt.inside)
        if prompt.box is not None:
            start, end = (voxel_from_file(volume, corner) for corner in prompt.box)
            return Box(start, end, prompt.name)
        mask = label_on_grid(volume, read_label(self.path.parent / cast(Path, prompt.mask), volume))
        return RoughMask(mask.data[0] > 0, prompt.name)
