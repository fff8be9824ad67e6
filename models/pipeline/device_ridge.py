"""Compiled weights as tensors on a device: the same predictions of z and c as `Weights.predict`."""

import numpy as np
import torch

from ..weights.low_rank import LowRankMap
from ..weights.prior import PicturePrior
from ..weights.weights import Weights


class DeviceRidge:
    """Predicts z and c of one trial, in float32."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self._z = _DeviceMap(weights.z, device)
        if weights.c_decoder == "expected":
            self._c = _DevicePrior(weights.maps.required_prior(), device)
        else:
            self._c = _DeviceMap(weights.c, device)
        self._latent_shape, self._text_shape = weights.card.latent_shape, weights.card.text_shape

    def __call__(self, voxels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict z (1, *latent_shape) and c (1, *text_shape) from all the weights' voxels (n_voxels,)."""
        row = voxels[None]
        return self._z(row).reshape(1, *self._latent_shape), self._c(row).reshape(1, *self._text_shape)


class _DeviceMap:
    def __init__(self, stored: LowRankMap, device: torch.device) -> None:
        self._positions = _on(device, stored.positions)
        self._left = _on(device, stored.left).float() * _on(device, stored.row_scale)[:, None]
        self._right = _on(device, stored.right).float() * _on(device, stored.column_scale)
        self._intercept = _on(device, stored.intercept)

    def __call__(self, voxels: torch.Tensor) -> torch.Tensor:
        return voxels.index_select(1, self._positions) @ self._left @ self._right + self._intercept


class _DevicePrior:
    def __init__(self, stored: PicturePrior, device: torch.device) -> None:
        self._scores, self._noise = _DeviceMap(stored.scores, device), _on(device, stored.noise)
        self._pictures = _on(device, stored.pictures).float()
        # the pictures' expected scores in units of noise, and half their squared lengths
        self._expected = (self._pictures * (_on(device, stored.gain) / self._noise)).T.contiguous()
        self._half_squares = 0.5 * self._expected.square().sum(dim=0)
        self._components, self._mean = _on(device, stored.components).float(), _on(device, stored.mean)

    def __call__(self, voxels: torch.Tensor) -> torch.Tensor:
        log_likelihood = (self._scores(voxels) / self._noise) @ self._expected - self._half_squares
        return log_likelihood.softmax(dim=1) @ self._pictures @ self._components + self._mean


def _on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(device)  # a copy: the file's own memory is read-only
