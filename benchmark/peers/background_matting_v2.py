"""Background Matting V2 (Lin et al., CVPR 2021), the authors' code and checkpoints."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.values import Frame

_KEPT: list[object] = []  # a library that is dropped takes its operators with it


class BackgroundMattingV2(Method):
    """The official network with its own defaults; its background is the captured plate."""

    name = "bgmv2"
    title = "BackgroundMattingV2"
    needs = "one of its checkpoints, such as pytorch_mobilenetv2.pth"

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        try:
            declare_torchvision()
            model = import_module("BackgroundMattingV2.model")
        # torchvision raises RuntimeError where it doesn't belong to the torch that is installed.
        except (ImportError, RuntimeError) as error:
            raise EvaluationError(
                f"{self.title} needs its package and a torchvision that fits torch ({error}); run: "
                "pip install BackgroundMattingV2 torchvision"
            ) from error
        assert self.weights is not None
        try:
            state = torch.load(self.weights, map_location="cpu", weights_only=True)
            network = model.MattingRefine(_backbone(state))
            network.load_state_dict(state)
        # torch and pickle raise many kinds for a file that is something else.
        except Exception as error:
            raise EvaluationError(
                f"{self.weights} isn't a checkpoint of {self.title} "
                f"({str(error).splitlines()[0]}); name one of the official pytorch_*.pth files."
            ) from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(self._device).eval()
        self._plate = self._tensor(empty.captured.plate)
        self.engine = f"torch ({self._device.type})"

    @torch.inference_mode()
    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`."""
        height, width = frame.depth.shape
        alpha = self._network(self._tensor(frame.color), self._plate)[0][0, 0, :height, :width]
        return (alpha * 255).round().to(torch.uint8).cpu().numpy()

    def _tensor(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """1×3×H×W in [0, 1], sides padded to multiples of 4."""
        height, width = image.shape[:2]
        tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        return F.pad(tensor, (0, -width % 4, 0, -height % 4), mode="replicate").to(self._device)


def _backbone(state: dict[str, torch.Tensor]) -> str:
    """The encoder that a checkpoint belongs to, told by the layers that only it has."""
    if "backbone.layer3.22.conv1.weight" in state:
        return "resnet101"
    return "resnet50" if "backbone.layer3.0.conv1.weight" in state else "mobilenetv2"


def declare_torchvision() -> None:
    """Names the operators that torchvision wants to find, where its compiled part is missing."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    whole = (
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
        "int pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    )
    others = (
        "nms _deform_conv2d_backward _ps_roi_align_backward _ps_roi_pool_backward "
        "_roi_align_backward _roi_pool_backward box_iou_rotated deform_conv2d ps_roi_align "
        "ps_roi_pool qnms qroi_align roi_pool"
    )
    for schema in (whole, *(f"{name}(Tensor a) -> Tensor" for name in others.split())):
        name = schema.partition("(")[0]
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _KEPT.append(library)
