"""Makes dart_ros installable by pip, for work on recordings without ROS.

colcon doesn't use this file: package.xml says that the package is built by CMake.
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
manifest = ElementTree.parse(here / "package.xml").getroot()
readme = here / "README.md"

setup(
    name="dart_ros",
    version=manifest.findtext("version"),  # one place holds the version
    description=" ".join(manifest.findtext("description", "").split()),
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    url=manifest.findtext("url"),
    packages=find_packages(include=["dart_ros", "dart_ros.*"]),
    package_data={
        "dart_ros": [
            "py.typed",
            "data/**/*",
            "data/*",
            "operator_page/web/**/*",
            "operator_page/web/*",
        ]
    },
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.21",
        "opencv-python>=4.5",
        "pyyaml>=5.4",
        "safetensors>=0.4",
        "tqdm>=4.57",
    ],
    extras_require={
        "bench": ["BackgroundMattingV2>=1.0", "matplotlib>=3.5"],
        "onnxruntime": ["onnxruntime>=1.16"],
        "openvino": ["openvino>=2024.0"],
        "tensorrt": ["cuda-python>=12", "tensorrt>=8.5"],
        # Earlier ones leave out the last message of each chunk of some bags.
        "bags": ["rosbags>=0.11.6"],
        "rerun": ["rerun-sdk>=0.41"],
        "recordings": ["pyk4a>=1.5", "pyrealsense2>=2.50"],
        "fit": ["kornia>=0.7", "onnx>=1.14", "torch>=2.5"],
        "page": ["aiohttp>=3.8"],
        "virtual_camera": ["pyvirtualcam>=0.10"],
        "render": ["meshopt>=0.1", "moderngl>=5.8", "pillow>=9.0", "scipy>=1.8"],
        "evaluation": [
            "BackgroundMattingV2>=1.0",
            "onnxruntime>=1.17",
            "pymatting>=1.1",
            "scipy>=1.8",
            "transformers>=4.40",
        ],
        "training": ["kornia>=0.7", "tensorboard>=2.10", "torch>=2.5"],
        "test": [
            "hypothesis>=6.0",
            "mypy>=1.8",
            "pytest>=7.0",
            "pytest-xdist>=3.0",
            "ruff>=0.4",
            "scipy>=1.8",
        ],
    },
    entry_points={"console_scripts": ["dart-ros = dart_ros.cli:main"]},
)
