"""Segments volumes with a trained network, a few slices at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from masg_sam.data.slices import (
    canvas_shape,
    filled_window,
    in_plane,
    must_be_drawable,
    network_batches,
    spread_slices,
    unpad,
    working_shape,
)
from masg_sam.data.task import Task
from masg_sam.data.volume import Volume
from masg_sam.devices import memory_format, mixed_precision
from masg_sam.errors import ImageError
from masg_sam.inference.opinions import MOST_SLICES, SecondOpinions
from masg_sam.inference.planes import LEAST_DEPTH, OtherPlanes
from masg_sam.inference.postprocess import likeliest_class
from masg_sam.inference.prompting import PromptBook, UserPrompt
from masg_sam.inference.segmentation import Segmentation, Slices, assemble
from masg_sam.inference.session import Session
from masg_sam.inference.signals import Agreement, Signals
from masg_sam.inference.smoothing import smooth_slices
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.layers import resize
from masg_sam.models.sam.prompts import Prompts

MIRRORED = ((), (2,), (3,), (2, 3))  # axes of B x C x H x W, in the views that are averaged
EMPTY_LOGIT = 10.0  # of background where a scan is empty; of the classes its negative
# Deviation of the smoothing across slices in mm, but no more than so many slices; where planes are joined they agree on
# most of it. Chosen on validation scans of LA and the hippocampus.
SMOOTHING_MM, JOINED_SMOOTHING_MM, MOST_SMOOTHING = 1.0, 0.5, 1.6


class Predictor:
    """Runs a network over the slices of a volume.

    Memory holds the volume, its normalised voxels, its mask, how sure each voxel of it is (two bytes) and one batch of
    slices, however many slices there are; with several planes, or prompts, the class probabilities of the volume too.

    Args:
        network: trained, in evaluation mode.
        task: how voxels become its input.
        device: ``cpu``, ``cuda`` ...
        batch_size: slices at a time.
        precision: that the network was trained with, see :func:`~masg_sam.devices.mixed_precision`.
    """

    def __init__(
        self,
        network: MasgSamNetwork,
        task: Task,
        device: str = "cpu",
        batch_size: int = 8,
        precision: str = "fp32",
    ) -> None:
        self.network, self.task = network.to(device).eval(), task
        self.network.to(memory_format=memory_format(torch.device(device)))  # type: ignore[call-overload]
        self.device, self.batch_size, self.precision = device, batch_size, precision

    @torch.inference_mode()
    def segment(self, volume: Volume, prompts: Sequence[UserPrompt] = ()) -> Segmentation:
        """Segment one volume.

        Args:
            volume: its image, with the channels of the training images.
            prompts: clicks, boxes, rough masks; none are needed.

        Raises:
            ImageError: a picture where the training images were scans, several slices where they were pictures,
                another number of channels, or voxels that are far too large.
        """
        self._check(volume)
        if prompts:
            return Session(self._joined(volume, self._book(volume, prompts)), volume, self.task).segment(prompts)
        return assemble((Slices.of(*found) for found in self._joined(volume, None)), self.task)

    @torch.inference_mode()
    def session(self, volume: Volume) -> Session:
        """Ask the network once, and correct what it said as often as needed.

        Args:
            volume: its image.

        Raises:
            ImageError: as :meth:`segment`.
        """
        self._check(volume)
        return Session(self._joined(volume, None), volume, self.task)

    @torch.inference_mode()
    def signals(self, volume: Volume, found: Segmentation) -> Signals:
        """Ask again about some of the slices, to learn how far the mask is to be trusted.

        Args:
            volume: its image.
            found: what :meth:`segment` returned for it.
        """
        asked = spread_slices(found.certainty.voxels.sum(1) > 0, MOST_SLICES)
        opinions = SecondOpinions(self.network, self.task.labels.num_classes, self.precision)
        rows, columns = filled_window(volume, self.task)
        for batch in network_batches(volume, self.task, self.batch_size, asked):
            opinions.ask(batch[..., rows, columns].to(self.device))
        return opinions.signals(found.certainty, found.kept, asked, found.planes)

    def _book(self, volume: Volume, prompts: Sequence[UserPrompt]) -> PromptBook:
        """The prompts as the network takes them, to be looked up slice by slice."""
        working = working_shape(volume, self.task)
        return PromptBook(prompts, self.task, volume.shape, working, canvas_shape(working, self.task))

    def _joined(self, volume: Volume, book: PromptBook | None) -> Iterator[tuple[Tensor, Agreement | None]]:
        """Class probabilities of the slices of the model's own plane, joined with what other planes say.

        Args:
            volume: its image.
            book: prompts; ``None`` without any. The own plane hears them.

        Yields:
            Probabilities of some slices, and, where there are other planes, how far the own one agrees with all.
        """
        voxels, done = self.task.intensity(volume.data), 0
        others = self._other_planes(volume, voxels)
        smoothing = SMOOTHING_MM if others is None else JOINED_SMOOTHING_MM
        for probability in self._smoothed(volume, voxels, self.task, smoothing, book):
            if others is None:
                yield probability, None
                continue
            joined = others.join(probability, done)
            masks = likeliest_class(probability), likeliest_class(joined)
            yield joined, Agreement.of(*masks, self.task.labels.num_classes)
            done += len(joined)

    def _other_planes(self, volume: Volume, voxels: np.ndarray) -> OtherPlanes | None:
        """What the planes across the model's own one say; ``None`` where there are none, or too few slices."""
        if not self.task.across or min(volume.shape) < LEAST_DEPTH:
            return None
        others = OtherPlanes(self.task.labels.num_classes, volume.shape, self.task.axis)
        for view in self.task.views[1:]:
            others.add(self._smoothed(volume, voxels, view, JOINED_SMOOTHING_MM), view.axis)
        return others

    def _smoothed(
        self, volume: Volume, voxels: np.ndarray, view: Task, mm: float, book: PromptBook | None = None
    ) -> Iterator[Tensor]:
        """As :meth:`_probabilities`, smoothed across the slices."""
        sigma = 0.0 if volume.is_picture else min(mm / volume.spacing[view.axis], MOST_SMOOTHING)
        yield from smooth_slices(self._probabilities(volume, voxels, view, book), sigma)

    def _probabilities(
        self, volume: Volume, voxels: np.ndarray, view: Task, book: PromptBook | None = None
    ) -> Iterator[Tensor]:
        """Of each class in each slice of a plane, on the volume's own grid: ``B x K+1 x rows x columns``.

        Args:
            volume: its image.
            voxels: the same, normalised.
            view: the plane.
            book: prompts; ``None`` without any.
        """
        working = working_shape(volume, view)
        canvas = canvas_shape(working, view)
        native = in_plane(volume.shape, view.axis)
        whole = slice(0, canvas[0]), slice(0, canvas[1])
        rows, columns = filled_window(volume, view) if book is None else whole  # a prompt is anywhere in the whole
        done = 0
        for batch in network_batches(volume, view, self.batch_size, normalised=voxels):
            cut = batch[..., rows, columns].to(self.device)
            logits = resize(self._answer(cut, book, done).float(), cut.shape[-2:])
            logits = unpad(_around_empty(logits, rows.start, columns.start, canvas), working)  # B x K+1 x r x c
            yield resize(logits, native).softmax(1)
            done += len(batch)

    def _answer(self, batch: Tensor, book: PromptBook | None, start: int) -> Tensor:
        """``B x K+1 x h x w`` of consecutive slices, of which the first has number ``start``."""
        with mixed_precision(self.precision, batch.device):
            if book is None:
                return self._logits(batch, None)
            groups = book.groups(range(start, start + len(batch)))
            found = [self._logits(batch[own], given.to(self.device) if given else None) for own, given in groups]
        places = torch.tensor([place for own, _ in groups for place in own], device=batch.device)
        return torch.cat(found)[places.argsort()]

    def _logits(self, batch: Tensor, prompts: Prompts | None) -> Tensor:
        """``B x K+1 x h x w``; the mean over all mirrored views, where those are as good.

        Where training inputs were square and this one is, it is turned by a right angle too: eight views, else four.
        """
        if not self.task.mirror:
            return self.network(batch, prompts).logits
        size = (batch.shape[2], batch.shape[3])
        square = self.task.size[0] == self.task.size[1] and size[0] == size[1]
        total = torch.zeros((), device=batch.device)
        views = [(turn, axes) for turn in ((0, 1) if square else (0,)) for axes in MIRRORED]
        for turn, axes in views:
            given = prompts.turned(turn, axes, size) if prompts else None
            total = total + _unturned(self.network(_turned(batch, turn, axes), given).logits.float(), turn, axes)
        return total / len(views)

    def _check(self, volume: Volume) -> None:
        self._check_kind(volume)
        must_be_drawable(volume, self.task)
        wanted = len(self.task.channels)
        found = volume.data.shape[0]
        if found != wanted:
            raise ImageError(
                "another number of channels than the training images",
                path=volume.path,
                found=f"{found} channel{'s' if found > 1 else ''}",
                expected=f"{wanted} ({', '.join(self.task.channels)})",
                mend="give every channel as in training (nnU-Net: one file each, _0000, _0001, ...)",
            )

    def _check_kind(self, volume: Volume) -> None:
        """A scan of one slice may be a picture in a format of scans; nothing else passes for the other."""
        if self.task.pictures and volume.shape[0] > 1:
            raise ImageError(
                "a scan for a model of pictures",
                path=volume.path,
                found=f"{volume.shape[0]} slices",
                expected="one picture",
                mend="save the slices as pictures if they are such, or take a model of scans",
            )
        if volume.is_picture and not self.task.pictures:
            raise ImageError(
                "a picture for a model of scans",
                path=volume.path,
                found="no voxel size",
                expected="a scan with millimetres, as in training",
                mend="give the scan itself (NIfTI, DICOM ...), or take a model of pictures",
            )


def _around_empty(logits: Tensor, top: int, left: int, canvas: tuple[int, int]) -> Tensor:
    """Logits of a window in the padded input, and background all around it: ``B x K+1 x canvas``."""
    height, width = logits.shape[-2:]
    if (height, width) == canvas:
        return logits
    whole = logits.new_full((*logits.shape[:2], *canvas), -EMPTY_LOGIT)
    whole[:, 0] = EMPTY_LOGIT
    whole[..., top : top + height, left : left + width] = logits
    return whole


def _turned(batch: Tensor, turn: int, mirrored: tuple[int, ...]) -> Tensor:
    """``B x C x H x W``, by right angles and then mirrored."""
    return torch.rot90(batch, turn, (2, 3)).flip(mirrored)


def _unturned(logits: Tensor, turn: int, mirrored: tuple[int, ...]) -> Tensor:
    """The inverse of :func:`_turned`."""
    return torch.rot90(logits.flip(mirrored), -turn, (2, 3))
