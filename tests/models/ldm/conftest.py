"""A small model with random weights, whole and to be changed."""

import shutil

import pytest
from small_models import write_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def model(whole, tmp_path):
    """A small model that a test may change or damage."""
    return shutil.copytree(whole, tmp_path / "model")
