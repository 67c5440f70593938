"""ViTMatte (Yao et al., Information Fusion 2024) through the library transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dart_ros.errors import PostMattingError

MULTIPLE = 32
"""The network's sides are multiples of this."""


class VitMatte:
    """See :class:`dart_ros.postmatting.PostMatting`; on the GPU where there is one.

    Args:
        weights: folder with ``config.json`` and ``model.safetensors``, as transformers saves them;
            nothing is fetched.

    Raises:
        PostMattingError: if transformers isn't installed or the folder isn't one of ViTMatte.
    """

    def __init__(self, weights: Path | None) -> None:
        if weights is None or not (weights / "config.json").is_file():
            raise PostMattingError(
                f"ViTMatte needs a folder with its config.json and model.safetensors, and "
                f"{weights} is none; save 'hustvl/vitmatte-small-composition-1k' there and name it."
            )
        try:
            from transformers import VitMatteForImageMatting
        except ImportError as error:
            raise PostMattingError(
                f"ViTMatte needs transformers ({error}); run: pip install transformers"
            ) from error
        try:
            network = VitMatteForImageMatting.from_pretrained(
                weights, local_files_only=True, use_safetensors=True
            )
        except Exception as error:  # transformers has no error class of its own
            raise PostMattingError(
                f"{weights} can't be read as ViTMatte ({' '.join(str(error).split())[:200]}); "
                "save the weights there again."
            ) from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(self._device).eval()

    @torch.inference_mode()
    def refine(self, color: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See :meth:`dart_ros.postmatting.PostMatting.refine`."""
        height, width = trimap.shape
        image = torch.from_numpy(color / np.float32(127.5) - 1).permute(2, 0, 1)
        hint = torch.from_numpy(trimap / np.float32(255))[None]
        pixels = torch.cat([image, hint])[None].to(self._device)
        pixels = F.pad(pixels, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        try:
            alpha = self._network(pixel_values=pixels).alphas[0, 0, :height, :width]
        except RuntimeError as error:
            raise PostMattingError(
                f"ViTMatte failed on a frame of {width}x{height} ({error}); use the alpha without "
                "it, or smaller frames."
            ) from error
        solved = (alpha.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        return np.where(trimap == 128, solved, trimap)
