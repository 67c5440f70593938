"""The table of the node's parameters: names, defaults, descriptions, ranges.

It imports nothing, because launch files read it in a Python of their own, which has only what
rosdep installs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter of the node.

    Attributes:
        default: its default, which also gives its type.
        description: what it is, for ``ros2 param describe`` and ``--show-args``.
        low: the least number allowed, if any.
        high: the greatest number allowed, if any.
        read_only: whether it can only be given at start.
        constraints: what else is asked of a value, in words.
    """

    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    read_only: bool = False
    constraints: str = ""


PARAMETERS: Mapping[str, ParameterSpec] = {
    "scenes_dir": ParameterSpec(
        "~/.ros/dart_ros/scenes", "Folder in which the captured scenes are kept.", read_only=True
    ),
    "scene": ParameterSpec("", "Scene to load at start; empty: the one used last.", read_only=True),
    "camera_serial": ParameterSpec(
        "",
        "Serial number of the camera; it is noted in the scenes that are captured, and a scene of "
        "another camera is refused; empty: unknown.",
        read_only=True,
    ),
    "autostart": ParameterSpec(
        True, "Configure and activate without a lifecycle manager.", read_only=True
    ),
    "backend": ParameterSpec(
        "auto",
        "Inference engine: tensorrt, openvino, openvino-gpu, onnxruntime or torch; auto takes the "
        "fastest one that works.",
    ),
    "threads": ParameterSpec(0, "CPU threads of the engine; 0: its own choice.", 0, 256),
    "refine_fraction": ParameterSpec(
        0.25,
        "Largest share of a 640x480 image that is refined at full resolution; of larger images it "
        "is smaller, as outlines grow with an image's side; 1 refines everything.",
        0.01,
        1.0,
    ),
    "max_depth": ParameterSpec(
        5.46, "Range of the depth sensor in metres; depth beyond it counts as unknown.", 0.1, 100.0
    ),
    "capture_scene": ParameterSpec(
        "background", "Name of the scene that ~/capture makes.", constraints="a plain name"
    ),
    "depth_noise_absolute": ParameterSpec(
        0.0,
        "Noise of the depth sensor in metres; with the two below the least deviation of the "
        "background depth: absolute + relative * z + quadratic * z^2 at z metres.",
        0.0,
        1.0,
    ),
    "depth_noise_relative": ParameterSpec(
        0.01, "Noise of the depth sensor as a share of the distance.", 0.0001, 0.5
    ),
    "depth_noise_quadratic": ParameterSpec(
        0.0, "Noise of the depth sensor per metre, with the square of the distance.", 0.0, 0.5
    ),
    "capture_frames": ParameterSpec(
        100, "Frames of the empty background that a capture takes by default.", 2, 10000
    ),
    "capture_timeout": ParameterSpec(
        5.0,
        "Seconds without a usable frame after which a capture or a still is given up.",
        0.5,
        600.0,
    ),
    "compensate_motion": ParameterSpec(
        12.0,
        "Pixels, of a picture of 640 columns (in larger ones as much more), up to which a camera "
        "that was pushed since the capture is made up for; 0: never, it is only told.",
        0.0,
        20.0,
    ),
    "learn_background": ParameterSpec(
        True,
        "Whether the background goes on learning while the node mattes: color, depth and how much "
        "both scatter, where depth agrees with it.",
    ),
    "learn_seconds": ParameterSpec(
        60.0,
        "Seconds in which the background learns about two thirds of a change of color; depth takes "
        "twice as long.",
        5.0,
        86400.0,
    ),
    "absorb_seconds": ParameterSpec(
        60.0,
        "Seconds without any motion after which what somebody put down or took away becomes part "
        "of the background by itself; 0: never.",
        0.0,
        86400.0,
    ),
    "absorb_persons_size": ParameterSpec(
        False, "Whether things as large as somebody become part of the background by themselves."
    ),
    "save_learned_seconds": ParameterSpec(
        60.0,
        "Seconds between two times that what was learnt is saved; it is at the end as well.",
        1.0,
        86400.0,
    ),
    "ready_scenes": ParameterSpec(
        4,
        "Scenes used last that stay in memory, so that switching to one takes no time.",
        1,
        64,
    ),
    "fit_seconds": ParameterSpec(
        0.0, "Seconds that a fit takes by default; 0: 120, and 30 on a GPU.", 0.0, 86400.0
    ),
    "fit_foregrounds": ParameterSpec(
        "",
        "Folder of further people or things (RGBA PNG) that a fit composes with; empty: none.",
    ),
    "fit_teacher": ParameterSpec(
        "", "File of the weights of a teacher from which a fit learns as well; empty: none."
    ),
    "sync_slop": ParameterSpec(
        0.02, "Seconds by which the stamps of color and depth may differ.", 0.0001, 1.0
    ),
    "sync_wait": ParameterSpec(
        1.0,
        "Seconds for which an image waits for its partner: the longest delay of depth behind color "
        "or the other way round.",
        0.05,
        10.0,
    ),
    "depth_time_offset": ParameterSpec(
        0.0,
        "Seconds by which the clock of color is ahead of that of depth, where it is constant.",
        -4e9,
        4e9,
    ),
    "depth_is_aligned": ParameterSpec(
        False, "Whether depth is aligned to color even if its frame_id is another."
    ),
    "image_transport": ParameterSpec(
        "raw", "Transport of color: raw, or compressed (JPEG or PNG on color/image_raw/compressed)."
    ),
    "depth_image_transport": ParameterSpec(
        "raw",
        "Transport of depth: raw, compressedDepth (PNG or RVL on depth/image_raw/compressedDepth) "
        "or compressed (PNG of 16 bits on depth/image_raw/compressed).",
    ),
    "rgbd": ParameterSpec(
        False,
        "Take color, depth and camera_info from one topic, rgbd (realsense2_camera_msgs/RGBD).",
        constraints="true needs realsense2_camera_msgs",
    ),
    "composite_color": ParameterSpec(
        [0, 177, 64],
        "Background color of the composite: red, green, blue, 0 to 255 each.",
        constraints="three integers, 0 to 255",
    ),
    "composite_image": ParameterSpec(
        "",
        "Image file used as background of the composite instead of a color; empty: the color.",
        constraints="a PNG, JPEG, WebP or BMP file",
    ),
    "composite_blur": ParameterSpec(
        0.0,
        "Show the room itself, blurred, behind the foreground: 0 does not, 1 leaves no shapes.",
        0.0,
        1.0,
    ),
    "composite_light_wrap": ParameterSpec(
        0.0, "How far the backdrop's light reaches around the foreground's outline.", 0.0, 1.0
    ),
    "composite_clean_edges": ParameterSpec(
        False, "Replace colors of soft edges by those of the foreground beside them."
    ),
    "jpeg_quality": ParameterSpec(85, "Quality of JPEG on the compressed topics.", 1, 100),
    "stills_dir": ParameterSpec(
        "~/.ros/dart_ros/stills", "Folder of the stills that are taken without a file's name."
    ),
    # Before post_matting, since vitmatte is refused without them.
    "post_matting_weights": ParameterSpec(
        "", "Folder of the weights of vitmatte; closed-form needs none."
    ),
    "post_matting": ParameterSpec(
        "closed-form",
        "Method by which ~/take_still solves the outline of a still anew: closed-form, or vitmatte "
        "(needs post_matting_weights).",
    ),
}
