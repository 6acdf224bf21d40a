"""Second opinions: the same slices changed, and the mask prompted with its own boxes."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masg_sam.data.prompt_input import BOX_END, BOX_START, PADDING, SLOTS
from masg_sam.devices import mixed_precision
from masg_sam.inference.postprocess import likeliest_class
from masg_sam.inference.signals import Agreement, Certainty, Signals, joined
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.layers import resize
from masg_sam.models.sam.prompts import Prompts

MOST_SLICES = 16  # of a scan that are asked again
# Turned by radians, scaled, contrast multiplied, brightness added: changes a segmentation should survive.
VIEWS = ((math.pi / 18, 1.12, 1.15, 0.1), (-math.pi / 18, 0.9, 0.85, -0.1))


class SecondOpinions:
    """Asks a network again about slices it has segmented.

    Args:
        network: trained, in evaluation mode.
        classes: foreground classes K.
        precision: that the network was trained with, see :func:`~masg_sam.devices.mixed_precision`.
    """

    def __init__(self, network: MasgSamNetwork, classes: int, precision: str = "fp32") -> None:
        self.network, self.classes, self.precision = network, classes, precision
        self.steady: list[Agreement] = []
        self.prompted: list[Agreement] = []
        self.embeddings: list[np.ndarray] = []

    def ask(self, batch: Tensor) -> None:
        """Take in a batch of network input, ``B x C x H x W``."""
        size = (batch.shape[-2], batch.shape[-1])
        with mixed_precision(self.precision, batch.device):
            pixels = self.network.adapter(batch)
            encoded = self.network.encoder(pixels)
            logits = self.network.segment(pixels, encoded).logits
        first, before = _mask(logits, size), sum(map(len, self.embeddings))
        summary = torch.cat([encoded.neck.float().mean((2, 3)), encoded.neck.float().std((2, 3))], 1)  # B x 2D
        self.embeddings.append(summary.cpu().numpy())
        self.steady += [Agreement.of(first, self._view(batch, view), self.classes) for view in VIEWS]
        if self.network.plain is None:
            prompts, asked = _own_boxes(first, self.classes, before)
            with mixed_precision(self.precision, batch.device):
                logits = self.network.segment(pixels, encoded, prompts.to(batch.device)).logits
            agreement = Agreement.of(first, _mask(logits, size), self.classes)
            fields = (agreement.voxels * asked, agreement.again * asked, agreement.both * asked)
            self.prompted.append(Agreement(*fields))

    def signals(
        self,
        certainty: Certainty,
        kept: np.ndarray,
        asked: tuple[int, ...],
        planes: Agreement | None = None,
    ) -> Signals:
        """Everything that was seen of the case, put together.

        Args:
            certainty: of all slices.
            kept: part of each class's voxels that post-processing kept, ``K``.
            asked: numbers of the slices that were asked about.
            planes: agreement of the model's own plane with all planes together; ``None`` where it has but one.
        """
        prompted = joined(self.prompted) if self.prompted else None
        embedding = np.concatenate(self.embeddings).mean(0)
        return Signals(certainty, joined(self.steady), prompted, kept, embedding, asked, planes)

    def _view(self, batch: Tensor, view: tuple[float, float, float, float]) -> Tensor:
        """The mask of a changed batch, changed back: ``B x H x W``."""
        angle, scale, contrast, brightness = view
        changed = _warp(batch * contrast + brightness, angle, scale)
        with mixed_precision(self.precision, batch.device):
            logits = self.network(changed).logits
        logits = resize(logits.float(), batch.shape[-2:])
        return likeliest_class(_warp(logits.softmax(1), -angle, 1 / scale, padding="border"))


def _warp(image: Tensor, angle: float, scale: float, padding: str = "zeros") -> Tensor:
    """Turn about the middle and scale, ``B x C x H x W``; the inverse takes ``-angle`` and ``1 / scale``."""
    height, width = image.shape[-2:]
    cosine, sine, ratio = math.cos(angle) / scale, math.sin(angle) / scale, height / width
    theta = torch.tensor([[cosine, -sine * ratio, 0.0], [sine / ratio, cosine, 0.0]])
    grid = F.affine_grid(theta.expand(len(image), 2, 3), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid.to(image), mode="bilinear", padding_mode=padding, align_corners=False)


def _mask(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return likeliest_class(resize(logits.float(), size))


def _own_boxes(mask: Tensor, classes: int, before: int = 0) -> tuple[Prompts, np.ndarray]:
    """For each slice the box of one class it holds, the next class for the next slice.

    Args:
        mask: classes, ``B x H x W``.
        classes: foreground classes K.
        before: slices of the scan that were asked about already.

    Returns:
        The prompts, and which class was asked in which slice, ``B x K`` of 0 and 1.
    """
    points = torch.zeros(len(mask), SLOTS, 2)
    kinds = torch.full((len(mask), SLOTS), PADDING)
    numbers = torch.zeros_like(kinds)
    asked = np.zeros((len(mask), classes))
    for i, one in enumerate(mask.cpu()):
        present = [k for k in torch.unique(one).tolist() if k]
        if not present:
            continue
        k = present[(before + i) % len(present)]
        rows, columns = torch.nonzero(one == k, as_tuple=True)
        points[i, :2] = torch.stack(
            [torch.stack([columns.min(), rows.min()]), torch.stack([columns.max(), rows.max()])]
        )
        kinds[i, :2] = torch.tensor([BOX_START, BOX_END])
        numbers[i, :2], asked[i, k - 1] = k, 1
    return Prompts(points, kinds, numbers), asked
