"""The whole network: SAM's encoder, HAE, DSF, SAM's decoder, BFE."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from masg_sam.config import ModelConfig
from masg_sam.models.bfe import BfeOutput, BoundaryEnhancement
from masg_sam.models.dsf import DsfOutput, SemanticFusion
from masg_sam.models.fpn import PlainDecoder
from masg_sam.models.hae import HaeOutput, HierarchicalAttention, confine
from masg_sam.models.sam.decoder import DecoderOutput, MaskDecoder, apply_kernels
from masg_sam.models.sam.encoder import EncoderFeatures
from masg_sam.models.sam.prompts import PromptEncoder, Prompts
from masg_sam.models.sam.weights import SamParts


@dataclass
class MasgSamOutput:
    """What the network returns for a batch.

    Attributes:
        logits: background first, ``B x K+1 x H/s x W/s``; s is 2 or 4, and with the plain decoder the
            stride of the finest tap.
        coarse: logits of the passes before the last step, each ``B x K+1 x H/4 x W/4``.
        hae, bfe, dsf: what the modules returned; ``None`` where a module is off.
    """

    logits: Tensor
    coarse: list[Tensor] = field(default_factory=list)
    hae: HaeOutput | None = None
    bfe: BfeOutput | None = None
    dsf: DsfOutput | None = None


class InputAdapter(nn.Module):
    """Any number of image channels to the three that SAM's encoder reads.

    Args:
        channels: image channels C; with three the input passes as it is.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, 3, 1, bias=False) if channels != 3 else None
        if self.mix is not None:
            weight = torch.zeros(3, channels, 1, 1)
            for channel in range(channels):  # channel c feeds output c mod 3
                weight[channel % 3, channel] = 1.0
            if channels < 3:
                weight[channels:, channels - 1] = 1.0
            self.mix.weight.data = weight / weight.sum(1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x H x W`` to ``B x 3 x H x W``."""
        return x if self.mix is None else self.mix(x)


class MasgSamNetwork(nn.Module):
    """SAM adapted to few-shot medical segmentation (Zhou et al., IEEE JBHI 2025).

    Without a prompt it is automatic; clicks, boxes and rough masks refine what it finds.

    Args:
        config: which modules are on, and their settings.
        sam: SAM's three parts with their weights.
        num_classes: foreground classes K.
        in_channels: channels of the input images.
        text: centred class vectors ``K x D``; needed when DSF is on.
    """

    def __init__(
        self,
        config: ModelConfig,
        sam: SamParts,
        num_classes: int,
        in_channels: int = 3,
        text: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.adapter = InputAdapter(in_channels)
        self.encoder = sam.encoder
        channels, taps = sam.mask_decoder.hidden_size, sam.encoder.tap_channels
        self.hae: HierarchicalAttention | None = None
        self.dsf: SemanticFusion | None = None
        self.bfe: BoundaryEnhancement | None = None
        self.plain = PlainDecoder(taps, num_classes) if config.decoder.kind == "fpn" else None
        if self.plain is not None:
            return
        self.prompt_encoder = PromptEncoder(sam.prompt_encoder, num_classes)
        if config.hae.enabled:
            self.hae = HierarchicalAttention(taps, channels, config.hae)
        if config.dsf.enabled:
            if text is None:
                raise ValueError("DSF needs the vectors of the classes")
            self.dsf = SemanticFusion(text, channels, trainable=config.dsf.text == "learned")
        levels = config.hae.width if config.hae.enabled else 0
        self.decoder = MaskDecoder(sam.mask_decoder, num_classes, levels)
        if config.bfe.enabled:
            features = self.decoder.upscale_conv2.out_channels
            self.bfe = BoundaryEnhancement(taps[0], features, num_classes, config.bfe.stride)

    def forward(self, images: Tensor, prompts: Prompts | None = None, progress: float = 1.0) -> MasgSamOutput:
        """Segment a batch.

        Args:
            images: normalised input ``B x C x H x W``; H and W are multiples of 32.
            prompts: clicks, boxes, rough masks; ``None`` for none.
            progress: part of the training that is done, 0..1.
        """
        pixels = self.adapter(images)  # B x 3 x H x W
        return self.segment(pixels, self.encoder(pixels), prompts, progress)

    def segment(
        self,
        pixels: Tensor,
        encoded: EncoderFeatures,
        prompts: Prompts | None = None,
        progress: float = 1.0,
    ) -> MasgSamOutput:
        """Everything after the encoder, so that a frozen encoder's features can be kept.

        Args:
            pixels: adapted input ``B x 3 x H x W``.
            encoded: what the encoder returned for it.
            prompts: as in :meth:`forward`.
            progress: as in :meth:`forward`.
        """
        if self.plain is not None:
            return MasgSamOutput(self.plain(encoded.taps))
        prompts = prompts or Prompts.none(len(pixels), pixels.device)
        size = (pixels.shape[2], pixels.shape[3])
        embedding = encoded.neck  # B x 256 x H/16 x W/16
        hae = self.hae(encoded.taps, embedding) if self.hae is not None else None
        if hae is not None:
            embedding = hae.embedding
        dsf = self.dsf(embedding, progress) if self.dsf is not None else None
        passes = self._decode(dsf.embedding if dsf else embedding, prompts, size, hae, dsf)
        last = passes[-1]
        coarse = [item.logits for item in passes]
        if self.bfe is None:
            return MasgSamOutput(last.logits, coarse[:-1], hae, None, dsf)
        bfe = self.bfe(pixels, encoded.taps[0], last.features, last.logits)
        return MasgSamOutput(apply_kernels(last.kernels, bfe.features), coarse, hae, bfe, dsf)

    @property
    def dsf_width(self) -> int | None:
        """Width D of the class vectors; ``None`` without DSF."""
        return None if self.dsf is None else self.dsf.text.shape[1]

    def encoder_merged(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state with the encoder's LoRA updates, where there are any, added to the weights they update."""
        own = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
        rest = {k: v for k, v in state.items() if not k.startswith("encoder.")}
        return rest | {f"encoder.{k}": v for k, v in self.encoder.merge_state(own).items()}

    def _decode(
        self,
        embedding: Tensor,
        prompts: Prompts,
        size: tuple[int, int],
        hae: HaeOutput | None,
        dsf: DsfOutput | None,
    ) -> list[DecoderOutput]:
        """One or two passes; the second sees the soft mask of the first as a dense prompt, and the levels near it."""
        grid = (embedding.shape[2], embedding.shape[3])
        position = self.prompt_encoder.position(grid)
        sparse = self.prompt_encoder.sparse(prompts, size)
        dense = self.prompt_encoder.dense(prompts, grid)
        semantic = dsf.dense if dsf is not None else 0
        shift = dsf.token_shift if dsf is not None else None
        levels = self._levels(hae)
        if self.config.decoder.passes == 1:
            return [self.decoder(embedding, position, sparse, dense + semantic, shift, levels)]
        first = self.decoder(embedding, position, sparse, dense + semantic, shift)
        margin = first.logits[:, 1:] - first.logits[:, :1]  # log odds against the background
        guided = self.prompt_encoder.mask_features(margin, grid).mean(1)
        near = confine(levels, first.logits) if levels is not None else None
        return [first, self.decoder(embedding, position, sparse, guided + semantic, shift, near)]

    def _levels(self, hae: HaeOutput | None) -> tuple[Tensor, Tensor] | None:
        """The levels to join at strides 8 and 4: the nearest that the encoder has."""
        if hae is None:
            return None
        strides = self.encoder.tap_strides
        eight = min(range(len(strides)), key=lambda i: (abs(strides[i] - 8), i))
        return hae.levels[eight], hae.levels[0]
