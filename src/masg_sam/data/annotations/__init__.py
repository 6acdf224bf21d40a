"""Labels as annotation tools save them: COCO, CVAT, LabelMe, and the segmentations of 3D Slicer."""
