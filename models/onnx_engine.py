"""The onnx engine: denoiser and decoder exported once, run by onnxruntime.

Exported networks lie in a cache, named by the weights' fingerprints and the versions that made them. onnxruntime falls
back to the CPU without a word, so the provider really in use is checked.
"""

import os
import warnings
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .engines import EngineError
from .ldm import LatentDiffusionModel

OPSET = 23  # the first with attention and group normalisation as operators of their own
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine:
    """Runs the networks in onnxruntime: on the CPU in float32, on a GPU through its CUDA provider.

    Raises
    ------
    EngineError
        If onnxruntime or the exporter is missing or broken, or onnxruntime took another provider than the model's
        device asks for.
    """

    def __init__(self, ldm: LatentDiffusionModel, cache: Path) -> None:
        check_installed()
        self._ldm, self._cache = ldm, cache
        self._provider = PROVIDERS[ldm.device.type]
        self._sessions: dict[str, Any] = {}
        self.name = f"onnx-{ldm.device.type}"
        self._decoder()

    def predicted_noise(self, latents: torch.Tensor, timestep: int, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the noise the denoiser sees in latents (n, channels, h, w) under embeddings (n, tokens, width)."""
        session = self._denoiser(len(latents))
        return self._run(
            session,
            latents=latents,
            timestep=torch.tensor([timestep], dtype=self._ldm.dtype),
            embeddings=embeddings,
        )

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (1, channels, h, w) into pictures (1, 3, px, px), about [−1, 1]."""
        if latents.shape[1:] != self._ldm.latent_shape:
            # z of another size than the model's own: rare, and not worth a network of its own
            return self._ldm.decode_latents(latents)
        return self._run(self._decoder(), latents=latents)

    def _run(self, session: Any, **inputs: torch.Tensor) -> torch.Tensor:
        arrays = {name: np.ascontiguousarray(value.cpu().numpy()) for name, value in inputs.items()}
        return torch.from_numpy(session.run(None, arrays)[0]).to(self._ldm.device)

    def _denoiser(self, n: int) -> Any:
        ldm = self._ldm
        example = (
            torch.zeros((n, *ldm.latent_shape), dtype=ldm.dtype, device=ldm.device),
            torch.zeros(1, dtype=ldm.dtype, device=ldm.device),
            torch.zeros((n, *ldm.text_shape), dtype=ldm.dtype, device=ldm.device),
        )
        return self._session(f"denoiser-{n}", _Denoiser(ldm.unet), example, ["latents", "timestep", "embeddings"])

    def _decoder(self) -> Any:
        ldm = self._ldm
        example = (torch.zeros((1, *ldm.latent_shape), dtype=ldm.dtype, device=ldm.device),)
        return self._session("decoder", _Decoder(ldm), example, ["latents"])

    def _session(
        self, name: str, network: torch.nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str]
    ) -> Any:
        if name not in self._sessions:
            path = self._cache / f"{name}-{self._fingerprint()}.onnx"
            if not path.is_file():
                try:
                    export(network, example, inputs, path)
                except OSError as error:
                    raise EngineError(
                        f"{path}: {error.strerror}; give a folder that can be written in [paths] engines"
                    ) from error
            self._sessions[name] = self._open(path)
        return self._sessions[name]

    def _open(self, path: Path) -> Any:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # each network has threads of its own: those that spin while they wait take the cores from the other's
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(path, options, providers=[self._provider])
        except Exception as error:  # noqa: BLE001 (onnxruntime's own exceptions share no class but this)
            raise EngineError(f"{path}: onnxruntime cannot run it ({error}); delete that file and try again") from error
        taken = session.get_providers()[0]
        if taken != self._provider:
            raise EngineError(
                f"onnxruntime fell back to {taken}, but {self._provider} was asked for; "
                "install the CUDA and cuDNN it wants, or take the torch engine"
            )
        return session

    def _fingerprint(self) -> str:
        ldm = self._ldm
        made_by = [ldm.fingerprint, ldm.denoiser_fingerprint, str(ldm.dtype), str(OPSET)]
        made_by += [f"{package} {version(package)}" for package in ("torch", "diffusers", "onnx", "onnxscript")]
        return sha256(" ".join(made_by).encode()).hexdigest()[:12]


class _Denoiser(torch.nn.Module):
    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        return self.unet(latents, timestep, embeddings, return_dict=False)[0]


class _Decoder(torch.nn.Module):
    def __init__(self, ldm: LatentDiffusionModel) -> None:
        super().__init__()
        self.autoencoder = ldm.autoencoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.decode(latents / self.autoencoder.config.scaling_factor, return_dict=False)[0]


def check_installed() -> None:
    """Refuse to go on without onnxruntime-gpu, or with onnxruntime beside it (`EngineError`)."""
    names = {(found.metadata["Name"] or "").lower() for found in distributions()}
    if {"onnxruntime", "onnxruntime-gpu"} <= names:
        raise EngineError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "uninstall both, then install onnxruntime-gpu again"
        )
    for package in ("onnxruntime-gpu", "onnx", "onnxscript"):
        try:
            version(package)
        except PackageNotFoundError:
            raise EngineError(f"{package} is not installed; install braind again with its dependencies") from None


def export(network: torch.nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str], path: Path) -> None:
    """Export a network with fixed shapes into one .onnx file, whole or not at all (files beside it above 2 GB)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's exporter warns about its own deprecations
        program = torch.onnx.export(
            network.eval(), example, dynamo=True, opset_version=OPSET, input_names=inputs, verbose=False,
            external_data=size > 1.9e9,
        )  # fmt: skip
    if program is None:
        raise EngineError(f"{path}: torch exported nothing; take the torch engine")
    if size > 1.9e9:
        program.save(path, external_data=True)
        return
    unfinished_path = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    program.save(unfinished_path)
    unfinished_path.replace(path)
