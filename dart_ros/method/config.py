"""What decides the shape of the network: its encoder and where depth enters. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

HIDDEN_CHANNELS = 11
"""With alpha, residual and error 16 channels, which is what CPUs compute at a time."""

COLOR_CHANNELS = 6
"""Channels of the frame's color beside the plate's."""

DEPTH_CHANNELS = 4
"""Channels of :func:`dart_ros.method.posterior.depth_channels`."""

EncoderName = Literal["mobilenetv2", "resnet50"]


@dataclass(frozen=True)
class NetworkConfig:
    """What decides the shape of the network.

    ``depth_in_base`` gives the base network the depth posterior and the depth channels beside
    the colors; without it the base network sees color alone, as in the paper.
    ``depth_in_refiner`` (Eq. 11) and ``depth_in_error`` (Eq. 10) are the paper's own uses of
    depth. ``depth_in_light`` takes a change of light out of the frame before the network sees it
    (:mod:`dart_ros.method.light`), ``depth_in_shadow`` takes shadows on the background out of alpha
    (:mod:`dart_ros.method.shadow`). With none of them this is the network of Background Matting V2.
    ``shadow_in_base`` shows the base network where that rule sees shadows instead, as an input, and
    ``restless_in_base`` where the background's color varied while it was captured.
    """

    encoder: EncoderName = "mobilenetv2"
    depth_in_base: bool = True
    depth_in_refiner: bool = True
    depth_in_error: bool = True
    depth_in_light: bool = True
    depth_in_shadow: bool = True
    shadow_in_base: bool = False
    restless_in_base: bool = False

    @property
    def base_channels(self) -> int:
        """Input channels of the base network."""
        depth = 1 + DEPTH_CHANNELS if self.depth_in_base else 0
        return COLOR_CHANNELS + depth + self.shadow_in_base + self.restless_in_base

    @property
    def refiner_channels(self) -> int:
        """Channels of the picture that the refiner sees."""
        return COLOR_CHANNELS + (DEPTH_CHANNELS if self.depth_in_refiner else 0)

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> NetworkConfig:
        """The network of a weights file, by the file's metadata.

        Switches that a file doesn't name are as they were before they existed: on where they are
        on by default.
        """
        switches = {
            name: metadata.get(name, str(default).lower()) == "true"
            for name, default in _switches().items()
        }
        if "depth_in_shadow" not in metadata:
            # Files of before it have it where light is taken out: the paper's designs do neither.
            switches["depth_in_shadow"] = switches["depth_in_light"]
        encoder: EncoderName = (
            "resnet50" if metadata.get("encoder") == "resnet50" else "mobilenetv2"
        )
        return NetworkConfig(encoder=encoder, **switches)

    def metadata(self) -> dict[str, str]:
        """What :meth:`from_metadata` reads."""
        switches = {name: str(getattr(self, name)).lower() for name in _switches()}
        return {"encoder": self.encoder, **switches}


def _switches() -> dict[str, bool]:
    """The switches and their defaults."""
    named = {entry.name: entry.default for entry in fields(NetworkConfig)}
    return {name: default for name, default in named.items() if isinstance(default, bool)}
