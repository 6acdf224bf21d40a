from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from masg_sam import errors
from masg_sam.errors import DatasetError, InputError, LabelError, MasgSamError, TrainingError, few, together

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MasgSamError)]


def test_an_error_says_what_where_and_how_to_mend_it() -> None:
    error = InputError("label is empty", path=Path("a/b.nii"), found="0 voxels", expected="at least 1", mend="draw it")
    first = f"{Path('a/b.nii')}: label is empty"
    assert str(error) == f"{first}\n  found:    0 voxels\n  expected: at least 1\n  fix:      draw it"
    assert (error.problem, error.path, error.found) == ("label is empty", Path("a/b.nii"), "0 voxels")


def test_what_is_not_known_is_left_out() -> None:
    assert str(InputError("label is empty")) == "label is empty"
    assert str(InputError("label is empty", found=0)) == "label is empty\n  found:    0"  # zero is something


@pytest.mark.parametrize("kind", KINDS)
def test_exit_status_tells_input_from_failure(kind: type[MasgSamError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, InputError) else 1)
    assert kind.__doc__


def test_training_that_breaks_down_is_no_wrong_input() -> None:
    assert not issubclass(TrainingError, InputError)
    assert {kind.__name__ for kind in KINDS} >= {
        "ConfigError",
        "LabelError",
        "CheckpointError",
        "OutputError",
    }


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, InputError)])
def test_every_input_error_takes_the_same_facts(kind: type[InputError]) -> None:
    error = kind("problem", path="file", found=1, expected=2, mend="do this")
    assert isinstance(error, MasgSamError) and str(error).count("\n") == 3


@pytest.mark.parametrize(("count", "text"), [(0, ""), (1, "a"), (5, "a, b, c, d, e"), (6, "a, b, c, d, e and 1 more")])
def test_a_message_lists_five_names_at_most(count: int, text: str) -> None:
    assert few(list("abcdef")[:count]) == text


def test_errors_together_tell_each() -> None:
    first, second = LabelError("empty", path="a"), InputError("damaged", path="b", mend="copy it")
    assert together([first]) is first
    both = together([first, second], "data")
    assert isinstance(both, DatasetError) and both.errors == (first, second) and both.path == "data"
    assert "\na: empty\nb: damaged\n  fix:      copy it" in str(both)
