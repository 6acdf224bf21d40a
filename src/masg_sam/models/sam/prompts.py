"""Prompts for K classes at once, embedded with SAM's prompt encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamPromptEncoder

from masg_sam.data.prompt_input import BOX_END, BOX_START, PADDING, SLOTS
from masg_sam.models.sam.layers import resize, zeroed


@dataclass
class Prompts:
    """Clicks, boxes and rough masks; each belongs to one class.

    Attributes:
        points: ``B x N x 2``, x and y in input pixels.
        kinds: ``B x N``: -1 nothing, 0 not this class, 1 this class, 2 and 3 the corners of a box.
        classes: ``B x N``, the class each point speaks of, 1..K (0 where there is nothing).
        masks: rough masks as logits, ``B x K x H/4 x W/4``, or ``None``.
        has_mask: ``B x K`` of 0 and 1, which of them count, or ``None`` for all.
    """

    points: Tensor
    kinds: Tensor
    classes: Tensor
    masks: Tensor | None = None
    has_mask: Tensor | None = None

    @classmethod
    def none(cls, batch: int, device: torch.device | str = "cpu") -> Prompts:
        """No prompt: the model is automatic."""
        index = torch.zeros(batch, SLOTS, dtype=torch.long, device=device)
        return cls(torch.zeros(batch, SLOTS, 2, device=device), index + PADDING, index)

    def to(self, device: torch.device | str) -> Prompts:
        """A copy on another device."""
        moved: dict[str, Any] = {k: v if v is None else v.to(device) for k, v in vars(self).items()}
        return Prompts(**moved)

    def turned(self, turns: int, mirrored: Sequence[int], size: tuple[int, int]) -> Prompts:
        """For an input ``B x C x H x W`` that was turned and mirrored.

        Args:
            turns: by so many right angles against the clock, as :func:`torch.rot90` does.
            mirrored: then along these of its axes, 2 and 3.
            size: rows and columns before.
        """
        (x, y), (rows, columns) = self.points.unbind(-1), size
        for _ in range(turns):
            x, y = y, columns - 1 - x
            rows, columns = columns, rows
        x, y = columns - 1 - x if 3 in mirrored else x, rows - 1 - y if 2 in mirrored else y
        points = torch.stack([x, y], -1)
        first, second = points[self.kinds == BOX_START], points[self.kinds == BOX_END]
        points[self.kinds == BOX_START] = torch.minimum(first, second)
        points[self.kinds == BOX_END] = torch.maximum(first, second)
        masks = None if self.masks is None else torch.rot90(self.masks, turns, (2, 3)).flip(tuple(mirrored))
        return replace(self, points=points, masks=masks)


class PromptEncoder(nn.Module):
    """SAM's prompt encoder for any input size and several classes.

    Args:
        sam: transformers' prompt encoder, with its weights.
        num_classes: foreground classes K.
    """

    def __init__(self, sam: SamPromptEncoder, num_classes: int) -> None:
        super().__init__()
        self.sam = sam
        self.class_tag = zeroed(nn.Embedding(num_classes + 1, sam.hidden_size))
        self.mask_tag = zeroed(nn.Embedding(num_classes, sam.hidden_size))

    def position(self, grid: tuple[int, int]) -> Tensor:
        """Position codes of a grid of ``h x w`` image tokens: ``1 x 256 x h x w``."""
        weight = self.sam.shared_embedding.positional_embedding
        y = (torch.arange(grid[0], device=weight.device) + 0.5) / grid[0]
        x = (torch.arange(grid[1], device=weight.device) + 0.5) / grid[1]
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        codes = self._codes(torch.stack([columns, rows], -1))  # h x w x 256
        return codes.permute(2, 0, 1)[None]

    def sparse(self, prompts: Prompts, size: tuple[int, int]) -> Tensor:
        """Embed points and box corners: ``B x N x 256``; ``size`` is the input's rows and columns."""
        scale = torch.tensor([size[1], size[0]], device=prompts.points.device)
        codes = self._codes((prompts.points + 0.5) / scale)  # B x N x 256
        kinds = torch.cat([cast(nn.Embedding, item).weight for item in self.sam.point_embed])  # 4 x 256
        known = codes + kinds[prompts.kinds.clamp(min=0)] + self.class_tag(prompts.classes)
        nothing = (prompts.kinds == PADDING)[..., None]
        return torch.where(nothing, self.sam.not_a_point_embed.weight.to(known.dtype), known)

    def dense(self, prompts: Prompts, grid: tuple[int, int]) -> Tensor:
        """Embed rough masks, averaged over the classes that have one: ``B x 256 x h x w``."""
        nothing = self.sam.no_mask_embed.weight[..., None, None]  # 1 x 256 x 1 x 1
        if prompts.masks is None:
            return nothing.expand(len(prompts.points), -1, *grid)
        coded = self.mask_features(prompts.masks, grid)  # B x K x 256 x h x w
        if prompts.has_mask is None:
            return coded.mean(1)
        weight = prompts.has_mask.to(coded.dtype)  # B x K
        count = weight.sum(1)[:, None, None, None]
        mixed = (coded * weight[:, :, None, None, None]).sum(1) / count.clamp(min=1)
        return torch.where(count > 0, mixed, nothing.to(mixed.dtype))

    def _codes(self, places: Tensor) -> Tensor:
        """Fourier codes of places in 0..1; in full precision, for their phases run over many turns."""
        with torch.autocast(places.device.type, enabled=False):
            return self.sam.shared_embedding(places.float())

    def mask_features(self, masks: Tensor, grid: tuple[int, int]) -> Tensor:
        """SAM's mask embedding of each class's logits ``B x K x h x w``: ``B x K x 256 x grid``."""
        batch, classes = masks.shape[:2]
        fine = resize(masks, (4 * grid[0], 4 * grid[1])).flatten(0, 1)[:, None]
        coded = self.sam.mask_embed(fine).unflatten(0, (batch, classes))
        return coded * (1 + self.mask_tag.weight[:, :, None, None])
