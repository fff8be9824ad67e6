"""What several parts call the same."""

from pathlib import Path

RESULTS_PATH = Path(__file__).parent / "results"

AS_WRITTEN = "diffusers as written"
AT_ITS_BEST = "diffusers at its best"
STREAM_BATCH = "stream-batch schedule, rebuilt here"
TORCH, ONNX = "braind torch", "braind onnx"
