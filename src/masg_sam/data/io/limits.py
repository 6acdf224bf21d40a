"""What a header may claim before memory is asked for, and how damage is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from masg_sam.errors import ImageError

MOST_BYTES = 4 * 2**30  # as float32
DEFLATE_RATIO = 1032  # the most that deflate packs, bytes out for a byte in


def must_fit(path: Path, shape: Sequence[int], item_bytes: int = 1, ratio: float | None = None) -> None:
    """Refuse a header that claims no voxels, more than can be meant, or more than its file can hold.

    Args:
        path: the file.
        shape: of all that it claims to hold, channels too.
        item_bytes: bytes of a stored value.
        ratio: bytes that a byte of the file may unpack to; ``None`` where the compression is not known.

    Raises:
        ImageError: the claim is none, too large to be meant, or more than the file can unpack to.
    """
    found = " x ".join(map(str, shape))
    count = math.prod(int(n) for n in shape)
    if min(shape, default=0) < 1:
        mend = "copy or export it again"
        raise ImageError("image has no voxels", path=path, found=found, expected="at least one voxel", mend=mend)
    if count * 4 > MOST_BYTES:
        raise ImageError(
            "header claims more voxels than can be meant",
            path=path,
            found=found,
            expected=f"at most {MOST_BYTES // 2**30} GB as float32",
            mend="the header is damaged; otherwise crop the image or cut it into tiles",
        )
    size = path.stat().st_size
    if ratio is not None and count * item_bytes > size * ratio:
        raise ImageError(
            "header claims more voxels than the file holds",
            path=path,
            found=f"{found} values of {item_bytes} bytes in a file of {size} bytes",
            mend="the file is truncated or damaged: copy or export it again",
        )


def must_be_one_volume(path: Path, shape: Sequence[int], channels: int | None = 1) -> None:
    """Refuse more than three dimensions, but for trailing ones of length one, and for the channels that are known of.

    Args:
        path: the file.
        shape: of all that it holds.
        channels: how many the file may hold; ``None`` for any number.

    Raises:
        ImageError: a time series, or channels that nobody named.
    """
    if channels is not None and math.prod(shape[3:]) not in (1, channels):
        raise ImageError(
            "more than three dimensions",
            path=path,
            found=" x ".join(map(str, shape)),
            expected="one volume" if channels == 1 else f"one volume, or one of each of the {channels} channels",
            mend="name the channels in dataset.json (`channel_names`, or `modality`), or save each channel or time "
            "point as a file of its own (channels: NAME_0000, NAME_0001, ...)",
        )


def damaged(path: Path, error: BaseException, kind: str) -> ImageError:
    """The error for a file that a library could not read."""
    if isinstance(error, PermissionError):
        mend = "change its permissions"
        return ImageError("may not be read", path=path, found=error.strerror, expected="a readable file", mend=mend)
    lines = str(error).strip().splitlines() or ["no detail"]
    return ImageError(
        f"cannot be read as {kind}",
        path=path,
        found=f"{type(error).__name__}: {lines[-1]}",
        expected=f"a whole {kind} file",
        mend="the file is truncated or damaged, or has the wrong suffix: copy or export it again",
    )
