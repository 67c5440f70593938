"""What a student learns from a teacher (Eq. 3): the channel-wise divergence of Shu et al. 2021."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.fitting.losses import matting_loss
from dart_ros.fitting.optimization import Loss
from dart_ros.fitting.run import Teacher
from dart_ros.fitting.weights import load_network
from dart_ros.method.network import MattingOutput
from dart_ros.simulation.frames import Batch


def channel_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Channel-wise Kullback-Leibler divergence of two maps (Shu et al. 2021, Eq. 4), a scalar.

    Each channel becomes a distribution over all its positions, by a softmax of the map over the
    temperature, so what the teacher holds for foreground counts most. Multiplied by the squared
    temperature, which leaves the size of gradients alone, and averaged over batch and channels.

    Args:
        student: B×C×h×w, any range.
        teacher: the same shape; no gradient goes into it.
        temperature: above 0; the higher, the more evenly all positions count.
    """
    ours, theirs = (
        F.log_softmax(image.float().flatten(2) / temperature, dim=-1)
        for image in (student, teacher.detach())
    )
    divergence = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
    return divergence.mean() * temperature**2


def distillation_loss(
    output: MattingOutput, teacher_alpha: Tensor, batch: Batch, temperature: float
) -> Tensor:
    """Eq. 3, a scalar: the divergence from the teacher's coarse alpha beside the truth's losses.

    The truth's are those of :func:`matting_loss`, which hold the L1 on alpha and the squared
    error of the error map, and teach foreground and refiner, on which Eq. 3 is silent.

    Args:
        output: the student's.
        teacher_alpha: B×1×h×w coarse alpha of the teacher in [0, 1].
        batch: the frames with truth.
        temperature: of the divergence.
    """
    divergence = channel_divergence(output.coarse_alpha, teacher_alpha, temperature)
    return divergence + matting_loss(output, batch)


def training_loss(teacher: Teacher | None, device: torch.device) -> Loss:
    """The loss of a training: the truth's alone, or a teacher's as well.

    Args:
        teacher: whom to learn from, or None.
        device: where the frames are.

    Raises:
        FitError: if the teacher's weights can't be read.
    """
    if teacher is None:
        return matting_loss
    network = load_network(teacher.weights).to(device).requires_grad_(False)
    temperature = teacher.temperature

    def loss(output: MattingOutput, batch: Batch) -> Tensor:
        with torch.no_grad():
            # Its base alone is asked for; a single tile is the least it refines.
            taught = network(
                batch.color,
                batch.depth,
                batch.background,
                tiles=1,
                reduction=batch.color.shape[-2] // output.coarse_alpha.shape[-2],
            )
        return distillation_loss(output, taught.coarse_alpha, batch, temperature)

    return loss
