"""Run where only NumPy is installed: import, a training step, a gradient that moves the weights.

Not a test module (pytest isn't there); .ci/run runs it in an environment with NumPy alone.
"""

import importlib.util

import numpy as np

import minissr
from minissr import ops
from minissr.data.synthetic import draw_faces
from minissr.models import registry
from minissr.training.optim import Adam

for package in ("numba", "cv2", "matplotlib", "safetensors", "tqdm"):
    assert importlib.util.find_spec(package) is None, f"{package} is installed: this shows nothing"

faces, ages, _ = draw_faces(8, stream="train", seed=0)
model = registry.build("ssrnet", rng=np.random.default_rng(0))
optimizer = Adam(model.parameters(), lr=1e-3)
losses = []
for step in range(3):
    predicted = model(faces, rng=np.random.default_rng((0, step)))
    loss = ops.mae(predicted, ages)
    model.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], losses
print(f"minissr {minissr.__version__} with NumPy alone: loss {losses[0]:.2f} -> {losses[-1]:.2f}")
