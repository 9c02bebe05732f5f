"""The slice-wise 2D U-Net of the accuracy benchmark: the paper's commercial baseline in kind.

000 §4.3.2 compares against a 2D U-Net trained on all slices of the training patches. This one sees
the same simulated scenes, grey normalisation, working scale, border-core classes and loss as the
default model; only the network is 2D. Its classes, slice upon slice, become particles by the same
growth from cores (`segmentation.particles_from_classes`), which is the watershed of 000 §4.3.1 on
a flat landscape with learned seeds, and so kinder to it than seeds made by erosion.
"""

from tests.benchmarks.slice_network.network import (
    SlicePredictor,
    cache_folder,
    find_slice_network,
    model_folder,
)

__all__ = ["SlicePredictor", "cache_folder", "find_slice_network", "model_folder"]
