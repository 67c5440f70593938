"""Published ImageNet weights as the start of an encoder."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.method.base_network import MobileNetV2Encoder, ResNet50Encoder

_RESNET_LAYERS = {
    "0.0": "conv1",
    "0.1": "bn1",
    "1.0": "conv2",
    "1.1": "bn2",
    "2.0": "conv3",
    "2.1": "bn3",
}


def load_imagenet_encoder(encoder: MobileNetV2Encoder | ResNet50Encoder, path: Path) -> None:
    """Initialises an encoder from published ImageNet weights.

    MobileNetV2's are named ``features.N.conv.K.x``, ResNet-50's ``layerN.M.convK.weight``, as
    those of torchvision are. The first convolution sees more channels than RGB: it starts with
    the ImageNet filters of the difference between frame and plate; further channels start at
    zero.

    Args:
        encoder: changed in place.
        path: a file of torch weights.

    Raises:
        FitError: if the file can't be read or does not hold this encoder.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise FitError(f"{path} can't be read as torch weights: {error}") from error
    if isinstance(encoder, ResNet50Encoder):
        kind, first_name, published = "ResNet-50", "stem.0.weight", _resnet_name
    else:
        kind, first_name, published = "MobileNetV2", "features.0.0.weight", _mobilenet_name
    ours = encoder.state_dict()
    theirs: dict[str, Tensor] = {}
    for name in ours:
        source = published(name)
        shape = ours[name].shape
        wanted = (shape[0], 3, *shape[2:]) if name == first_name else shape
        if source.endswith("num_batches_tracked") and source not in state:
            theirs[name] = ours[name]
            continue
        if source not in state or state[source].shape != wanted:
            raise FitError(f"{path} has no fitting {source}: not {kind} weights")
        theirs[name] = state[source]
    # ImageNet filters expect colors over their deviation; their mean is gone in the difference.
    first = theirs[first_name] / torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]
    widened = torch.zeros_like(ours[first_name])
    widened[:, :3] = first
    widened[:, 3:6] = -first
    theirs[first_name] = widened
    encoder.load_state_dict(theirs)


def _mobilenet_name(name: str) -> str:
    """``features.N.conv.B.P.x`` of ours in the flat naming of the published weights."""
    parts = name.split(".")
    if parts[2] != "conv":
        return name
    _, block, _, layer, part, leaf = parts
    return f"features.{block}.conv.{3 * int(layer) + int(part)}.{leaf}"


def _resnet_name(name: str) -> str:
    """``stageN.M.conv.L.P.x`` of ours as ``layerN.M.convL.x`` or ``layerN.M.bnL.x``."""
    parts = name.split(".")
    if parts[0] == "stem":
        return f"{'conv1' if parts[1] == '0' else 'bn1'}.{parts[2]}"
    layer, block = parts[0].replace("stage", "layer"), parts[1]
    if parts[2] == "shortcut":
        return f"{layer}.{block}.downsample.{parts[3]}.{parts[4]}"
    return f"{layer}.{block}.{_RESNET_LAYERS[f'{parts[3]}.{parts[4]}']}.{parts[5]}"
