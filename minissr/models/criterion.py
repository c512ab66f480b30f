"""What a network is trained to make small: the distance between its ages and the true ones.

mae           mean |y - t| (Yang et al. 2018, Eq. 1)
smooth        the same rounded off at 0, quadratic up to `smooth_delta` years (Huber 1964)
distribution  mae, and how far the distribution that the stages describe is from the label with its
              doubt: label distribution learning (Gao et al. 2018, "DLDL-v2": an expectation term
              and a KL divergence), with both distributions as the normal ones of their mean and
              variance. Of stages that pick their bins independently both are sums over stages, so
              no list of ages has to be made; the variance term is that of Pan et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minissr import ops
from minissr.autograd.tensor import Tensor
from minissr.nn.layers import choice

LOSSES = ("mae", "smooth", "distribution")
DISTRIBUTIONS = ("softmax", "normalized")  # what p has to be to say how sure a stage is


@dataclass(frozen=True)
class Criterion:
    """Which distance, and its constants.

    Attributes
    ----------
    loss : "mae" | "smooth" | "distribution"
    smooth_delta : float
        Years, above 0.
    label_sigma : float
        How far off labels are taken to be, in years, above 0 (distribution).
    divergence_weight : float
        Of the divergence, in years a nat; the error's weight is 1 (distribution).
    """

    loss: str = "mae"
    smooth_delta: float = 3.0
    label_sigma: float = 3.0
    divergence_weight: float = 1.0

    def __post_init__(self) -> None:
        choice("loss", self.loss, dict.fromkeys(LOSSES))

    def of_ages(self, predicted: Tensor, ages: Any) -> Tensor:
        """The distance of ages (N,) alone, without what a distribution adds."""
        if self.loss == "smooth":
            return ops.huber(predicted, ages, delta=self.smooth_delta)
        return ops.mae(predicted, ages)

    def of_variance(self, predicted: Tensor, variance: Tensor, ages: Any) -> Tensor:
        """What a distribution adds: the weighted divergence."""
        divergence = ops.normal_divergence(predicted, variance, ages, self.label_sigma)
        return divergence * self.divergence_weight

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse the loss "distribution" for a network that describes none; `settings` are the
        network's `config()`."""
        if self.loss != "distribution":
            return
        if settings.get("activation_p") not in DISTRIBUTIONS:
            raise ValueError(
                "loss distribution needs stages with activation_p "
                f"{' or '.join(DISTRIBUTIONS)}; choose loss mae or smooth"
            )
        if settings["slip"] or settings["stage_loss"]:
            raise ValueError("loss distribution excludes slip and stage_loss; leave them out")


MAE = Criterion()
