"""What the modules of a network see in one slice."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from masg_sam.data.slices import canvas_shape, filled_window, network_batches, unpad, working_shape
from masg_sam.data.volume import Volume
from masg_sam.inference.overlay import slice_picture, upright
from masg_sam.inference.predictor import Predictor
from masg_sam.models.sam.layers import resize
from masg_sam.reports.content import ModuleMap, Report
from masg_sam.reports.pictures import photograph
from masg_sam.segmenter import MasgSam

MOST_CLASSES = 6  # of which a similarity map is drawn


def add_maps(report: Report, model: MasgSam, volume: Volume, mask: np.ndarray, case: str) -> None:
    """The maps of the slice that holds most.

    Args:
        report: gets them.
        model: with the modules.
        volume: the image.
        mask: what was found in it, classes ``Z x Y x X``.
        case: its name.
    """
    axis = model.model.task.axis
    number = int((mask > 0).sum(tuple(i for i in range(3) if i != axis)).argmax())
    if not mask.any():
        number = volume.shape[axis] // 2
    report.maps = module_maps(model.predictor, volume, number)
    report.maps_of = case if volume.is_picture else f"{case}, the slice that holds most"


@torch.inference_mode()
def module_maps(predictor: Predictor, volume: Volume, number: int) -> list[ModuleMap]:
    """Attention over levels (HAE), boundary map (BFE), similarity to the class texts (DSF) of one slice.

    Args:
        predictor: of a trained model; a plain decoder has no maps.
        volume: the image.
        number: of the slice, along the predictor's axis.
    """
    task = predictor.task
    (batch,) = network_batches(volume, task, 1, [number])
    rows, columns = filled_window(volume, task)
    seen = batch[..., rows, columns]
    output = predictor.network(seen.to(predictor.device))
    working = working_shape(volume, task)
    canvas = canvas_shape(working, task)

    def draw(values: Tensor, low: float, high: float) -> str:
        """``h x w`` at the network's resolution to a coloured picture of the slice."""
        whole = torch.full(canvas, low)
        whole[rows, columns] = resize(values[None, None].float(), seen.shape[-2:])[0, 0].cpu()
        scaled = np.clip((unpad(whole, working).numpy() - low) / max(high - low, 1e-6), 0, 1)
        return photograph(upright(colormaps["magma"](scaled)[..., :3], task.axis))

    maps = [ModuleMap("image", "image", photograph(slice_picture(volume, number, task.axis)))]
    if output.hae is not None:
        top = float(output.hae.attention.max())
        strides = predictor.network.encoder.tap_strides
        for level, attention in enumerate(output.hae.attention[0]):
            title = (
                f"attention to level {level + 1} (stride {strides[level]}): {float(attention.mean()):.0%} on average"
            )
            maps.append(ModuleMap("HAE", title, draw(attention, 0, top)))
    if output.bfe is not None:
        boundary = output.bfe.boundary[0].sigmoid().amax(0)
        maps.append(ModuleMap("BFE", "probability of a boundary", draw(boundary, 0, 1)))
    if output.dsf is not None:
        names = task.labels.names[:MOST_CLASSES]
        for name, similarity in zip(names, output.dsf.similarity[0, 1:], strict=False):
            low, high = float(similarity.min()), float(similarity.max())
            title = f"similarity to “{name}”: cosine {low:.2f} to {high:.2f}"
            maps.append(ModuleMap("DSF", title, draw(similarity, low, high)))
    return maps if len(maps) > 1 else []
