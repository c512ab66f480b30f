"""Does the exported file say what the network says? Asked of every runtime that is installed.

ONNX Runtime is the one most people will use, OpenCV's dnn needs no further package, and
`onnx.reference` is the format's own definition in plain NumPy: slow, and shown fewer faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.exporting.onnx_file import onnx_package

TOLERANCE = 1e-3  # years
SMOOTH = 1000.0  # years; beyond, float32 itself is coarser than that and the tolerance grows

Runtime = Callable[[bytes], Callable[[np.ndarray], np.ndarray]]


@dataclass(frozen=True)
class Check:
    """What one runtime made of the file.

    Attributes
    ----------
    runtime : str
        Its name, with the version.
    faces : int
        How many it was shown.
    difference : float or None
        The largest from the network's ages, in years; None where it didn't run.
    passed : bool
        Whether all were within the tolerance; True where the runtime isn't installed.
    message : str
        Why it didn't run.
    """

    runtime: str
    faces: int = 0
    difference: float | None = None
    passed: bool = True
    message: str = ""

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.runtime:<24} {self.message}"
        verdict = "" if self.passed else f"  MORE THAN {TOLERANCE:g}"
        return (
            f"{self.runtime:<24} largest difference {self.difference:.1e} years "
            f"over {self.faces:,} faces{verdict}"
        )


def onnx_runtime(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda faces: session.run(None, {"face": faces})[0]


def onnx_reference(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    onnx = onnx_package()
    evaluator = onnx.reference.ReferenceEvaluator(onnx.load_from_string(model))
    return lambda faces: evaluator.run(None, {"face": faces})[0]


def opencv_dnn(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Of OpenCV 5.0 it is known that its tanh of more than 44 isn't a number (it is 1); on some
    thousand faces our networks and the authors' stay below 33."""
    from cv2 import dnn

    net = dnn.readNetFromONNX(np.frombuffer(model, np.uint8))

    def run(faces: np.ndarray) -> np.ndarray:
        net.setInput(faces)
        return net.forward()

    return run


# What it is called, the package it needs, how to run it, and whether it is slow.
RUNTIMES: tuple[tuple[str, str, Runtime, bool], ...] = (
    ("ONNX Runtime", "onnxruntime", onnx_runtime, False),
    ("OpenCV dnn", "cv2", opencv_dnn, False),
    ("onnx.reference", "onnx", onnx_reference, True),
)


def check(model: bytes, faces: np.ndarray, ages: np.ndarray, slow_faces: int = 4) -> list[Check]:
    """Compare every runtime with the network.

    Parameters
    ----------
    model : bytes
        Of the ONNX file.
    faces : ndarray (N, S, S, 3)
        As the file's input wants them.
    ages : ndarray (N,)
        What the network says of them, in years.
    slow_faces : int
        How many of them the slow runtimes are shown.

    Returns
    -------
    list of Check
        One a runtime, also where it isn't installed.
    """
    checks = []
    for name, package, runtime, slow in RUNTIMES:
        count = min(len(faces), slow_faces) if slow else len(faces)
        checks.append(check_one(name, package, runtime, model, faces[:count], ages[:count]))
    return checks


def check_one(
    name: str, package: str, runtime: Runtime, model: bytes, faces: np.ndarray, ages: np.ndarray
) -> Check:
    """One runtime: the first face alone, then all, in batches; the number of faces is free."""
    try:
        module: Any = __import__(package)
    except ImportError:
        return Check(
            name, message=f"not installed, so not checked: pip install {pip_name(package)}"
        )
    name = f"{name} {module.__version__}"
    try:
        run = runtime(model)
        starts = range(0, len(faces), 128)
        answers = [run(faces[:1]), *(run(faces[start : start + 128]) for start in starts)]
    except Exception as error:  # each runtime has classes of its own for what it can't do
        reason = " ".join(str(error).split())[:200]
        return Check(name, passed=False, message=f"can't run the file: {reason}")
    said = np.concatenate(answers)
    wanted = np.concatenate([ages[:1], ages])[:, None]
    if said.shape != wanted.shape:
        return Check(name, passed=False, message=f"gives {said.shape} instead of {wanted.shape}")
    difference = np.abs(said - wanted)
    allowed = TOLERANCE * np.maximum(1, np.abs(wanted) / SMOOTH)
    largest = float(difference.max())  # NaN if any is, and NaN passes no comparison
    return Check(name, len(faces), largest, bool((difference <= allowed).all()))


def pip_name(package: str) -> str:
    return {"cv2": "opencv-python"}.get(package, package)
