"""What the three training stages share: where they run, checkpoints that survive a stop, progress on stderr."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ....whole_file import write_whole
from ..scenes import Scene, render

DEMO_PATH = Path(__file__).parents[1]
Part = Any  # a model, scheduler or pipeline of diffusers or transformers, whose annotations do not fit their use


def training_device() -> torch.device:
    """Return the GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def placed(part: Part, device: torch.device) -> Part:
    """Put a part that is only used, not trained, on the device."""
    return part.to(device).eval()


def autocast(device: torch.device) -> torch.autocast:
    """Return bf16 autocast on a GPU and full precision on a CPU, where bf16 has no arithmetic of its own."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def one_cycle(step: int, n_steps: int, peak: float, warm_up: int = 100) -> float:
    """Return the learning rate at a step: linear warm-up, then cosine down to a hundredth."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, n_steps - warm_up)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def render_bank(scenes: list[Scene]) -> torch.Tensor:
    """Render scenes once: (n_scenes, 3, px, px) uint8."""
    pictures = np.stack([render(scene) for scene in tqdm(scenes, desc="render", mininterval=5)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def to_signed(pictures: torch.Tensor) -> torch.Tensor:
    """Map uint8 pictures to [−1, 1] float32."""
    return pictures.float() / 127.5 - 1


def save_sheet(rows: list[torch.Tensor], path: Path) -> None:
    """Write pictures in [−1, 1], one (n, 3, px, px) tensor a row, as one PNG."""
    lines = [torch.cat(list(row), dim=2) for row in rows]
    sheet = torch.cat(lines, dim=1).clamp(-1, 1).add(1).mul(127.5).round().byte()
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels: NDArray[np.uint8] = sheet.permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels).save(path)


class Checkpoint:
    """Weights and AdamW state of one stage in one safetensors file, replaced atomically."""

    def __init__(self, path: Path, model: torch.nn.Module, optimiser: torch.optim.AdamW) -> None:
        self.path, self.model, self.optimiser = path, model, optimiser

    def save(self, step: int) -> None:
        """Write the state after `step` finished steps."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = torch.as_tensor(value)
        contiguous = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        with write_whole(self.path) as unfinished_path:
            save_file(contiguous, unfinished_path, metadata={"step": str(step)})

    def resume(self) -> int:
        """Load the newest state, if any, and return how many steps are done."""
        if not self.path.exists():
            return 0
        from safetensors import safe_open

        with safe_open(self.path, "pt") as file:
            step = int(file.metadata()["step"])
        tensors = load_file(self.path)
        self.model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        for name, parameter in self.model.named_parameters():
            state = {key: tensors.get(f"adam.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            if state["exp_avg"] is not None:
                self.optimiser.state[parameter] = {
                    key: value if key == "step" else value.to(parameter.device)
                    for key, value in state.items()
                    if value is not None
                }
        return step


def steps(n_done: int, n_steps: int, description: str) -> Iterator[tuple[int, "tqdm[int]"]]:
    """Yield each remaining step with its progress bar."""
    bar = tqdm(range(n_done, n_steps), initial=n_done, total=n_steps, desc=description, mininterval=5)
    for step in bar:
        yield step, bar
