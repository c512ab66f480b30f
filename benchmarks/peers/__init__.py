"""Who is measured: each a module here with `open(workload, flavour, threads)`.

What that returns has `training(batch)` and/or `inference(batch)`, which return the function to be
timed, and with `training` also `loss_and_gradients(batch)`, by our names and in our layouts and
without dropout. Nothing of a peer is imported before its own process does.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A row of the tables.

    Attributes
    ----------
    name, label : str
        For the command line and for people.
    module : str
        In this folder.
    flavour : str
        Which way of using it.
    does : tuple of str
        "training", "inference".
    needs : tuple of str
        Modules that have to be importable.
    install : str
        What brings them.
    file : str
        A model file that somebody else's framework has to write first; see `exports`.
    keeps : bool
        Whether glibc is told to keep freed memory (see `KEPT`), as minissr tells it by itself.
    """

    name: str
    label: str
    module: str
    flavour: str = ""
    does: tuple[str, ...] = ("training", "inference")
    needs: tuple[str, ...] = ()
    install: str = ""
    file: str = ""
    keeps: bool = False

    def missing(self) -> list[str]:
        """The modules it needs that aren't installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


# glibc by default gives large arrays back to the system at once, and gets the next ones page by
# page. Nobody sets these variables, but a framework's users could.
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}

TORCH = {"module": "torch_peer", "needs": ("torch",), "install": "pip install torch"}
KERAS = {
    "module": "keras_peer",
    "needs": ("tensorflow", "keras"),
    "install": "pip install tensorflow-cpu",
}
ONLY = {"does": ("inference",)}
TUNED = {"does": ("training",), "keeps": True}

PEERS = (
    Entry("minissr", "minissr", "ours", "numba", needs=("numba",), install="pip install minissr"),
    Entry("torch", "PyTorch eager", flavour="eager", **TORCH),
    Entry("torch-channels-last", "PyTorch channels_last", flavour="channels_last", **TORCH),
    Entry("torch-compile", "PyTorch compile", flavour="compile", **TORCH),
    Entry("torch-jit", "PyTorch jit", flavour="jit", **TORCH, **ONLY),
    Entry("keras", "TensorFlow / Keras", **KERAS),
    Entry("jax", "JAX jit", "jax_peer", needs=("jax",), install="pip install jax"),
    Entry(
        "onnxruntime-torch",
        "ONNX Runtime, PyTorch's export",
        "onnxruntime_peer",
        needs=("onnxruntime", "torch", "onnxscript"),
        install="pip install onnxruntime torch onnx onnxscript",
        file="torch.onnx",
        **ONLY,
    ),
    Entry(
        "onnxruntime-ours",
        "ONNX Runtime, our export",
        "onnxruntime_peer",
        needs=("onnxruntime", "onnx"),
        install="pip install onnxruntime onnx",
        file="ours.onnx",
        **ONLY,
    ),
    Entry(
        "openvino",
        "OpenVINO",
        "openvino_peer",
        needs=("openvino", "torch", "onnxscript"),
        install="pip install openvino torch onnx onnxscript",
        file="torch.onnx",
        **ONLY,
    ),
    Entry(
        "litert",
        "LiteRT",
        "litert_peer",
        needs=("ai_edge_litert", "tensorflow"),
        install="pip install ai-edge-litert tensorflow-cpu",
        file="keras.tflite",
        **ONLY,
    ),
    Entry(
        "opencv",
        "OpenCV dnn",
        "opencv_peer",
        needs=("cv2", "torch", "onnxscript"),
        install="pip install opencv-python torch onnx onnxscript",
        file="torch.onnx",
        **ONLY,
    ),
    Entry(
        "torch-channels-last-kept",
        "PyTorch channels_last, memory kept",
        flavour="channels_last",
        **TORCH,
        **TUNED,
    ),
    Entry(
        "torch-compile-kept", "PyTorch compile, memory kept", flavour="compile", **TORCH, **TUNED
    ),
    Entry("keras-kept", "TensorFlow / Keras, memory kept", **KERAS, **TUNED),
    Entry("numpy", "minissr on NumPy", "ours", "numpy"),
)
BY_NAME = {entry.name: entry for entry in PEERS}
