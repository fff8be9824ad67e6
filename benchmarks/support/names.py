"""Names of the arms and the folder of the results: parts, tables and plots share them."""

from pathlib import Path

RESULTS_PATH = Path(__file__).parents[1] / "results"

AS_WRITTEN = "diffusers as written"
AT_ITS_BEST = "diffusers at its best"
STREAM_BATCH = "stream-batch schedule, rebuilt here"
TORCH, ONNX = "braind torch", "braind onnx"
