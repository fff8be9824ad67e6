"""The type of arrays. Docstrings give shapes and dtypes, and tests prove them."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
