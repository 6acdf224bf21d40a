"""From files to network input: readers and writers, layouts, labels, checks, slices, augmentation."""
