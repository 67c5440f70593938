"""ONNX files of the user's through ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dart_ros.errors import EvaluationError


def onnx_session(file: Path, inputs: set[str], outputs: set[str], what: str) -> Any:
    """A session of ONNX Runtime whose inputs and outputs are those expected.

    Args:
        file: the ONNX file.
        inputs: names that must be among its inputs.
        outputs: names that must be among its outputs.
        what: the network's name, for errors.

    Raises:
        EvaluationError: if ONNX Runtime isn't installed, or the file is broken or another network.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EvaluationError(
            f"{what} needs ONNX Runtime ({error}); run: pip install onnxruntime"
        ) from error
    try:
        session = onnxruntime.InferenceSession(
            str(file), providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # ONNX Runtime has no error class of its own
        raise EvaluationError(
            f"{file} can't be read as ONNX ({str(error).splitlines()[0]}); fetch it again."
        ) from error
    here = ({x.name for x in session.get_inputs()}, {x.name for x in session.get_outputs()})
    if not inputs <= here[0] or not outputs <= here[1]:
        raise EvaluationError(
            f"{file} isn't {what}: it has the inputs {sorted(here[0])} and the outputs "
            f"{sorted(here[1])}; name the official ONNX file."
        )
    return session
