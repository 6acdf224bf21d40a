"""Draw where HAE looks: the attention over the encoder's levels, for the middle slice of a scan.

python examples/attention_maps.py RUN SCAN PICTURE.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from masg_sam import MasgSam
from masg_sam.data.io import read_image
from masg_sam.data.slices import network_batches


def main(run: str, scan: str, picture: str) -> None:
    """One map a level, from 0 (not looked at) to 1 (nothing else looked at)."""
    trained = MasgSam.from_pretrained(run, device="cpu").model
    slices = torch.cat(list(network_batches(read_image(Path(scan)), trained.task, batch_size=8)))  # S x C x H x W
    with torch.inference_mode():
        attention = trained.network(slices[len(slices) // 2][None]).hae.attention[0]  # L x H/16 x W/16
    figure = Figure(figsize=(3 * len(attention), 3), layout="constrained")
    for level, (axes, part) in enumerate(zip(figure.subplots(1, len(attention)), attention, strict=True), start=1):
        drawn = axes.imshow(part, vmin=0, vmax=1, cmap="viridis")
        axes.set_title(f"level {level}: mean {part.mean():.2f}")
        axes.set_axis_off()
    figure.colorbar(drawn, ax=figure.axes, shrink=0.7)
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:4])
