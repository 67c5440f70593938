"""Light and the color camera: exposure, tone curve, noise, compression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.simulation.dice import Dice


@dataclass(frozen=True)
class CameraChances:
    """How often light and the color camera change what is seen.

    Attributes:
        gain: the scene's light has another gain and tint than at the capture.
        uneven: it changes more in some places.
        tone: it follows another tone curve.
        glints: glints go and come.
        shake: the picture has moved by a pixel.
        bleached: a longer exposure cuts off what is bright.
        bleached_at_ledge: the same before a bright ledge.
        step: the exposure differs between the frames of a pair.
        gamma: another gamma of frame and plate.
        defocus: frame and plate are out of focus.
        jpeg: frame and plate are compressed.
    """

    gain: float = 0.8
    uneven: float = 0.4
    tone: float = 0.3
    glints: float = 0.1
    shake: float = 0.25
    bleached: float = 0.2
    bleached_at_ledge: float = 0.6
    step: float = 0.15
    gamma: float = 0.3
    defocus: float = 0.2
    jpeg: float = 0.3


def relit(dice: Dice, chances: CameraChances, color: Tensor) -> Tensor:
    """The empty scene under the light of the live frame."""
    height, width = color.shape[-2:]
    if dice.chance(chances.gain):
        # Automatic exposure and white balance answer to whoever walks in.
        gain = math.exp((0.15 if dice.chance(0.4) else 0.05) * float(dice.normal()))
        tint = 1 + 0.03 * dice.normal(3, 1, 1)
        lift = 0.03 * float(dice.normal()) if dice.chance(0.4) else 0.0
        color = color * (gain * tint) + lift
    if dice.chance(chances.uneven):
        color = color * (1 + 0.05 * dice.smooth_noise(height, width, 3).clamp(-2, 2))
    if dice.chance(chances.glints):
        # Glints on floors and furniture go and come with whoever stands in their light.
        cells, fewest = 6 + dice.integer(20), dice.uniform(1.2, 2.2)
        glint = (dice.smooth_noise(height, width, cells) - fewest).clamp(0, 1)
        color = color + dice.uniform(-0.2, 0.5) * glint
    if dice.chance(chances.shake):
        shift = [dice.integer(3) - 1, dice.integer(3) - 1]
        weight = dice.uniform(0, 0.8)
        color = color * (1 - weight) + weight * torch.roll(color, shift, dims=(-2, -1))
    return color.clamp(0, 1)


def toned(dice: Dice, color: Tensor) -> Tensor:
    """Another tone curve: dark parts grow brighter by another factor than bright ones."""
    gamma = math.exp(dice.uniform(-0.5, 0.5))
    shoulder = dice.uniform(0.5, 2.5)
    curved = color.clamp(min=0) ** gamma
    if dice.chance(0.5):
        curved = (1 - torch.exp(-shoulder * curved)) / (1 - math.exp(-shoulder))
    return curved.clamp(0, 1)


def bleached(
    dice: Dice, frame: Tensor, plate: Tensor, truth: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Longer exposure: what is bright is cut off later, all in the same white, without noise.

    White clothes before a white wall are one with it then, and depth alone tells them apart.
    """
    bright = torch.quantile(plate.amin(dim=0), dice.uniform(0.5, 0.98))
    gain = (1 / bright.clamp(min=1e-3)).clamp(1, 4)
    return frame * gain, plate * gain, truth * gain


def exposed(
    dice: Dice, chances: CameraChances, frame: Tensor, plate: Tensor, truth: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Noise of the color sensor; the plate is a mean of frames and has less of it."""
    height, width = frame.shape[-2:]
    step = math.exp(0.1 * float(dice.normal())) if dice.chance(chances.step) else 1.0
    if dice.time:
        # Automatic exposure answers a frame or two late.
        frame, truth = frame * step, truth * step
    if dice.chance(chances.gamma):
        gamma = math.exp(dice.uniform(-0.25, 0.25))
        frame, plate, truth = (x.clamp(0, 1) ** gamma for x in (frame, plate, truth))
    level = dice.uniform(0.0, 0.025)
    noise = dice.fresh_normal(3, height, width) * level
    if dice.chance(0.5):
        coarse = dice.fresh_normal(3, math.ceil(height / 2), math.ceil(width / 2)) * level
        noise = noise + F.interpolate(coarse[None], (height, width), mode="bilinear")[0]
    plate_noise = dice.normal(3, height, width) * (level * dice.uniform(0.05, 0.4))
    if dice.chance(chances.defocus):
        blur = F.avg_pool2d(torch.stack([frame, plate]), 3, 1, 1, count_include_pad=False)
        frame, plate = blur[0], blur[1]
    frame, plate = (frame + noise).clamp(0, 1), (plate + plate_noise).clamp(0, 1)
    if dice.chance(chances.jpeg):
        quality = 50 + dice.integer(46)
        frame, plate = _compress(frame, quality), _compress(plate, quality)
    return frame, plate, truth


def _compress(image: Tensor, quality: int) -> Tensor:
    """What JPEG leaves of a 3×H×W picture in [0, 1]; ``quality`` from 1 to 100."""
    if image.device.type == "cpu":
        return _compress_on_cpu(image, quality)
    try:
        # Not before: kornia is for GPUs alone and takes its time to load.
        from kornia.enhance import jpeg_codec_differentiable
    except ImportError:
        # A robot that only fits does without it.
        return _compress_on_cpu(image.cpu(), quality).to(image.device)
    height, width = image.shape[-2:]
    padded = F.pad(image[None], (0, -width % 16, 0, -height % 16), mode="replicate")
    level = torch.tensor([float(quality)], device=image.device)
    compressed: Tensor = jpeg_codec_differentiable(padded, level)[0, :, :height, :width]
    return compressed.clamp(0, 1)


def _compress_on_cpu(image: Tensor, quality: int) -> Tensor:
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()[..., ::-1]
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32)[..., ::-1] / 255
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous()
