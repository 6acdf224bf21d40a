"""The loss and its terms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from masg_sam.config import ModelConfig
from masg_sam.data.labels import IGNORED
from masg_sam.models.bfe import boundary_band
from masg_sam.models.masg_sam import MasgSamOutput
from masg_sam.models.sam.layers import resize

LEAST_SHARE = 0.01  # of the cross entropy, to each class present at first; see docs/explanation/what-was-tried.md


def soft_dice(probability: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the Dice of the whole batch, averaged over the classes.

    A class that is nowhere costs ``p / (p + smooth)``, where ``p`` is the sum of its probability over all pixels. The
    overlap is the smaller of both and not their product: the same where targets are 0 and 1, and where a cell is
    covered in part it lets the part itself cost nothing (Dice semimetric loss, Wang et al., NeurIPS 2023).

    Args:
        probability: ``B x K x H x W`` in 0..1.
        target: the same shape, 0..1.
        smooth: pixels added to both sides of the fraction.
    """
    overlap = torch.minimum(probability, target).sum((0, 2, 3))  # K
    total = probability.sum((0, 2, 3)) + target.sum((0, 2, 3))
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


def segmentation_loss(logits: Tensor, label: Tensor, least: float = LEAST_SHARE) -> Tensor:
    """Cross entropy plus soft Dice over the foreground, at the label's resolution.

    Args:
        logits: background first, ``B x K+1 x h x w``.
        label: class of each pixel, ``B x H x W``; 255 for what nobody labelled, which costs nothing.
        least: share of the cross entropy that each class gets at least.
    """
    logits = resize(logits.float(), label.shape[-2:])
    target = one_hot(label, logits.shape[1])
    known = (label != IGNORED)[:, None]  # B x 1 x H x W
    return balanced_cross_entropy(logits, target, least) + soft_dice(logits.softmax(1)[:, 1:] * known, target[:, 1:])


def coarse_loss(logits: Tensor, label: Tensor, least: float = LEAST_SHARE) -> Tensor:
    """The same at the logits' own resolution, against the part of each cell that a class covers."""
    target = class_parts(label, logits.shape[1], logits.shape[-2:])
    known = target.sum(1, keepdim=True)  # B x 1 x h x w, 1 where all of the cell is labelled
    logits = logits.float()
    return balanced_cross_entropy(logits, target, least) + soft_dice(logits.softmax(1)[:, 1:] * known, target[:, 1:])


def balanced_cross_entropy(logits: Tensor, target: Tensor, least: float) -> Tensor:
    """Cross entropy of the batch, in which no class that occurs counts for less than a least part of the area.

    The mean over all pixels gives an organ of a few dozen pixels no say: its class is soon predicted nowhere, where
    neither the cross entropy nor the Dice has a slope left to bring it back. Classes above the least count by their
    area, so that the ordinary cross entropy remains where all are.

    Args:
        logits: background first, ``B x K+1 x h x w``.
        target: part of each pixel that is of each class, the same shape; all 0 where nobody labelled.
        least: part of the area, 0 for the ordinary mean.
    """
    area = target.sum((0, 2, 3))  # K+1, pixels
    share = (area / area.sum().clamp(min=1e-6)).clamp(min=least) * (area > 0)
    each = -(target * logits.log_softmax(1)).sum((0, 2, 3)) / area.clamp(min=1e-6)  # K+1, mean over a class's pixels
    return (share * each).sum() / share.sum().clamp(min=1e-6)


def boundary_loss(logits: Tensor, label: Tensor, half_width: int) -> Tensor:
    """Binary cross entropy plus soft Dice against the band around each class's border.

    Args:
        logits: boundary logits, ``B x K x h x w``.
        label: class of each pixel, ``B x H x W``; where 255 is near, nothing is known of borders.
        half_width: of the band, pixels.
    """
    size, logits = (logits.shape[2], logits.shape[3]), logits.float()
    unknown = (label == IGNORED).float()[:, None]
    near = F.max_pool2d(unknown, 2 * half_width + 1, stride=1, padding=half_width)
    known = F.adaptive_avg_pool2d(1 - near, size)  # B x 1 x h x w
    band = F.adaptive_avg_pool2d(boundary_band(label, logits.shape[1], half_width) * (1 - near), size)
    entropy = F.binary_cross_entropy_with_logits(logits, band, reduction="none") * known
    mean = entropy.sum() / (known.sum() * logits.shape[1]).clamp(min=1e-6)
    return mean + soft_dice(logits.sigmoid() * known, band)


def one_hot(label: Tensor, channels: int) -> Tensor:
    """``B x H x W`` of classes to ``B x channels x H x W`` of 0 and 1; all 0 where the label is 255."""
    index = torch.where(label == IGNORED, channels, label)
    return F.one_hot(index, channels + 1)[..., :channels].permute(0, 3, 1, 2).float()


def class_parts(label: Tensor, channels: int, size: tuple[int, int] | torch.Size) -> Tensor:
    """Part of each cell that is of each class: ``B x channels x h x w``, summing to the part that is labelled."""
    return F.adaptive_avg_pool2d(one_hot(label, channels), (size[0], size[1]))


def loss_terms(output: MasgSamOutput, label: Tensor, config: ModelConfig, progress: float = 0.0) -> dict[str, Tensor]:
    """Every term, already weighted; their sum is the loss.

    Small classes count for more than their area at first, or they would vanish, and for their area in the end: as
    long as they count for more, their masks come out too large.

    Args:
        output: what the network returned.
        label: class of each pixel, ``B x H x W`` of int64.
        config: the weights.
        progress: part of the training that is done.
    """
    least = LEAST_SHARE * (1 - progress)
    terms = {"mask": segmentation_loss(output.logits, label, least)}
    for logits in output.coarse:
        weight = config.decoder.coarse_weight / len(output.coarse)
        terms["coarse"] = terms.get("coarse", 0) + weight * coarse_loss(logits, label, least)
    if output.hae is not None:
        terms["diversity"] = config.hae.diversity_weight * output.hae.diversity
        terms["drift"] = config.hae.drift_weight * output.hae.drift_loss
    if output.bfe is not None:
        terms["boundary"] = config.bfe.weight * boundary_loss(output.bfe.boundary, label, config.bfe.band)
    if output.dsf is not None:
        terms["match"] = config.dsf.match_weight * coarse_loss(output.dsf.logits, label, least)
    return terms


def diagnostics(output: MasgSamOutput) -> dict[str, float]:
    """What the modules do, for the log: attention over levels, diversity, drift, gates."""
    values: dict[str, float] = {}
    if output.hae is not None:
        for level, part in enumerate(output.hae.attention.detach().float().mean((0, 2, 3)).tolist()):
            values[f"hae/attention_{level + 1}"] = part
        values["hae/diversity"] = output.hae.diversity.item()
        values["hae/drift"] = output.hae.drift.item()
    if output.bfe is not None:
        values["bfe/boundary"] = output.bfe.boundary.detach().float().sigmoid().mean().item()
    if output.dsf is not None:
        semantic, spatial = output.dsf.gate.detach().float().mean((0, 2, 3)).tolist()
        values |= {"dsf/gate_semantic": semantic, "dsf/gate_spatial": spatial}
    return values
