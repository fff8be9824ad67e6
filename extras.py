"""The package's extras: the modules that `pip install "braind[EXTRA]"` brings to commands of the light install."""

MODULES = {
    "decode": frozenset({
        "accelerate", "diffusers", "h5py", "huggingface_hub", "matplotlib", "nilearn", "onnx", "onnxruntime",
        "onnxscript", "peft", "prometheus_client", "safetensors", "scipy", "skimage", "sklearn", "threadpoolctl",
        "tokenizers", "torch", "tqdm", "transformers",
    }),
    "cluster": frozenset({"ray"}),
    "report": frozenset({"jinja2", "markupsafe"}),
    "scores": frozenset({"torchvision"}),
    "dicom": frozenset({"gdcm"}),
    "lsl": frozenset({"pylsl"}),
    "web": frozenset({"aiohttp", "textual_serve"}),
}  # fmt: skip
"""Extra → the names that its libraries are imported by, as pyproject.toml lists the libraries."""


def extra_with(module: str | None, command: str | None) -> str | None:
    """Return the extra to install for a command that lacks a module; None if no extra brings the module.

    A command that is named as an extra needs that extra, which brings all other modules of the command too.
    """
    library = (module or "").partition(".")[0]
    extra = next((name for name, modules in MODULES.items() if library in modules), None)
    return command if extra and command in MODULES else extra


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra; cmd.exe, PowerShell and POSIX shells read its quotes."""
    return f'pip install "braind[{extra}]"'
