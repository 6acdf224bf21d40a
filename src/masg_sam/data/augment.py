"""Random changes of training slices, built from MONAI's transforms."""

from __future__ import annotations

import numpy as np
from monai.transforms import (
    Compose,
    Rand2DElasticd,
    RandAdjustContrastd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
    Transform,
)
from monai.utils import convert_to_tensor
from torch import Tensor


class Augmentation:
    """Affine and elastic deformation in one resampling, then contrast, brightness, blur and noise.

    Args:
        size: rows and columns of the output.
        mirror: flip and rotate by right angles too.
        colour: change each channel by itself.
    """

    def __init__(self, size: tuple[int, int], mirror: bool, colour: bool) -> None:
        both = ("image", "label")
        deform = Rand2DElasticd(
            keys=both,
            spacing=(size[0] / 6, size[1] / 6),
            magnitude_range=(1.0, 4.0),
            prob=1.0,
            rotate_range=np.pi / 9,
            shear_range=(-0.12, 0.12),
            translate_range=[side * 0.1 for side in size],
            scale_range=[(-0.25, 0.3)] * 2,
            spatial_size=size,
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        )
        turns: list[Transform] = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in (0, 1)]
        turns.append(RandRotate90d(both, prob=0.5 if size[0] == size[1] else 0.0))  # others would not fit
        intensity = [
            RandAdjustContrastd("image", prob=0.6, gamma=(0.5, 2.0), retain_stats=True),
            RandAdjustContrastd("image", prob=0.2, gamma=(0.5, 2.0), retain_stats=True, invert_image=True),
            RandScaleIntensityd("image", factors=0.4, prob=0.5, channel_wise=colour),
            RandShiftIntensityd("image", offsets=0.4, prob=0.5, channel_wise=colour),
            RandGaussianSmoothd("image", sigma_x=(0.5, 1.5), sigma_y=(0.5, 1.5), prob=0.25),
            RandGaussianNoised("image", prob=0.3, std=0.15),
        ]
        self.transform = Compose([deform, *(turns if mirror else []), *intensity])

    def __call__(self, image: Tensor, label: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Change one sample, the same way for the same seed.

        Args:
            image: ``C x r x c`` float32.
            label: ``r x c`` of small integers.
            seed: of everything random.

        Returns:
            ``C x H x W`` float32 and ``H x W`` int64.
        """
        self.transform.set_random_state(seed)
        changed = self.transform({"image": image, "label": label[None].float()})
        image, label = (convert_to_tensor(changed[name], track_meta=False) for name in ("image", "label"))
        return image.float(), label[0].round().long()
