"""The method of DART (arXiv 2402.15820) and little else: torch modules and pure functions.

One file per step of the paper, in the order in which a frame passes through them:
:mod:`posterior` (Eq. 5-8), :mod:`base_network` (Eq. 1-3),
:mod:`error_map` (Eq. 9-10), :mod:`refiner` (Eq. 11), :mod:`trimap` (Eq. 12-13), and
:mod:`network`, which puts the learned steps together. Ours alone is :mod:`light`. No ROS, no
files, no global state.
"""
