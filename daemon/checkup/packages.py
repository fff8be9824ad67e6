"""Finds out which packages are installed and which of them work. A broken package breaks only another process."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "torch", "diffusers", "transformers", "onnxruntime", "onnxruntime-gpu", "onnx", "pyzmq", "numpy", "scipy",
    "scikit-learn", "safetensors", "msgspec", "nibabel", "h5py", "pydicom", "pillow", "textual",
)  # fmt: skip
PROBE_WITHIN_S = 120
ANSWER = "answer "
PROBE = f"""
import json, sys
for name, probe in json.loads(sys.argv[1]).items():
    answer = {{}}
    try:
        exec(probe)
        answer["works"] = True
    except BaseException as error:
        answer = {{"broken": f"{{type(error).__name__}}: {{error}}".splitlines()[0]}}
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            answer = {{"installed": False}}
    print("\\n{ANSWER}" + json.dumps(answer), flush=True)
"""
PROBES = {
    "torch": """
import torch
gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
answer |= {"cuda": torch.version.cuda, "gpus": gpus, "threads": torch.get_num_threads()}
""",
    "diffusers": "from diffusers import AutoencoderKL, UNet2DConditionModel",
    "transformers": "from transformers import CLIPTextModel",
    # A provider that is named may still lack its libraries: only a session says which one it got.
    "onnxruntime": """
import onnxruntime as ort
from onnx import TensorProto, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
ort.set_default_logger_severity(4)
def works(provider):
    try:
        return provider in ort.InferenceSession(model, providers=[provider]).get_providers()
    except Exception:
        return False
answer["providers"] = {name: works(name) for name in ort.get_available_providers()}
""",
}


def package_versions() -> dict[str, str]:
    """Return each package's installed version."""
    return {name: _version(name) for name in PACKAGES}


def probe_packages(names: Sequence[str] = tuple(PROBES)) -> dict[str, dict[str, object]]:
    """Import the heavy packages in another process; return what each says, or why it does not work."""
    found: dict[str, dict[str, object]] = {}
    while left := [name for name in names if name not in found]:
        answers, why = _probe(left)
        found |= answers
        if len(answers) < len(left):
            # The process died of this package; the others get another process.
            found[left[len(answers)]] = {"broken": why}
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _probe(names: Sequence[str]) -> tuple[dict[str, dict[str, object]], str]:
    """Run the probes one after the other until the process dies; return the answers, and its last words."""
    command = [sys.executable, "-P", "-c", PROBE, json.dumps({name: PROBES[name] for name in names})]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_WITHIN_S, check=False)
        printed, words = done.stdout, done.stderr.strip() or f"it ended the process, exit status {done.returncode}"
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        words = f"not imported within {PROBE_WITHIN_S} s"
    except OSError as error:
        printed, words = "", str(error)
    answers = [json.loads(line.removeprefix(ANSWER)) for line in printed.splitlines() if line.startswith(ANSWER)]
    return dict(zip(names, answers, strict=False)), words.splitlines()[-1]
