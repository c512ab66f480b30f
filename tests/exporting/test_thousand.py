"""A thousand real faces through every runtime: SSR-Net, MobileNet and DenseNet of the authors."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from minissr import use_backend
from minissr.data.images import decode, shrink
from minissr.exporting.check import check
from minissr.exporting.onnx_file import to_onnx
from minissr.training.measure import predict_ages
from minissr.training.network import load_network

pytest.importorskip("onnx", reason="onnx writes the files: pip install 'minissr[onnx]'")
pytest.importorskip("h5py", reason="h5py reads the released weights: pip install h5py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def faces(utkface_dir: Path) -> np.ndarray:
    """Every twentieth face or so of UTKFace, RGB."""
    images = []
    with tarfile.open(utkface_dir / "UTKFace.tar") as archive:
        pictures = [m for m in archive if m.isfile() and m.name.endswith(".jpg")]
        for member in pictures[:: len(pictures) // 1000][:1000]:
            handle = archive.extractfile(member)
            assert handle is not None
            images.append(shrink(decode(handle.read())))
    return np.stack(images)


# onnx.reference averages in Python, 0.5 s a face for SSR-Net and 2 s for DenseNet.
@pytest.mark.parametrize(
    ("name", "slow_faces"),
    [("ssrnet_morph2", 10), ("ssrnet_megaface_asian", 10), ("mobilenet_imdb", 1000),
     ("densenet_imdb", 3)],
)  # fmt: skip
def test_all_runtimes_agree(
    reference_dir: Path, faces: np.ndarray, name: str, slow_faces: int
) -> None:
    assert len(faces) == 1000
    network = load_network(reference_dir / "weights" / f"{name}.h5")
    data = to_onnx(network.model, network.preprocessing, rgb=True)
    with use_backend("numpy"):
        ages = predict_ages(network.model, faces, network.preprocessing)
    checks = check(data, faces, ages, slow_faces)
    print("\n".join(map(str, checks)))
    assert all(line.passed for line in checks), "\n".join(map(str, checks))
