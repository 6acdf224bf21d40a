"""Whatever a file claims: ten seconds and a gigabyte, and nothing written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from masg_sam.errors import InputError

MOST_SECONDS, MOST_KB, MOST_TEXT = 10, 2**20, 4000
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def kilobytes(field: str) -> int:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(field))


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Processor time, and the most memory that the process held, where Linux tells."""
    tells = RESET.exists()
    if tells:
        RESET.write_text("5")  # the peak starts anew
    before, started = kilobytes("VmRSS") if tells else 0, time.process_time()
    yield
    assert time.process_time() - started < MOST_SECONDS
    if tells:
        assert kilobytes("VmHWM") - before < MOST_KB


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[Callable[[], object]], InputError]:
    """A call that must end in a typed error, and leave every file as it was."""

    def check(call: Callable[[], object]) -> InputError:
        before = tree(tmp_path)
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.exit_code == 2
        assert len(str(caught.value)) < MOST_TEXT
        assert tree(tmp_path) == before
        return caught.value

    return check


@pytest.fixture
def survives(tmp_path: Path) -> Callable[[Callable[[], object]], None]:
    """A call that may end well or in a typed error, and leaves every file as it was."""

    def check(call: Callable[[], object]) -> None:
        before = tree(tmp_path)
        try:
            call()
        except InputError as error:
            assert len(str(error)) < MOST_TEXT
        assert tree(tmp_path) == before

    return check


def tree(folder: Path) -> dict[str, int]:
    """Every file below a folder, and when it was written."""
    return {str(item): item.lstat().st_mtime_ns for item in folder.rglob("*") if not item.is_dir()}
