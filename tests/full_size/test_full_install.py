"""The demo in a full, fresh install simulates, fits, serves and shows: 35 s, 1.7 GB and 4 minutes."""

import pytest
from installed import Installed
from PIL import Image


@pytest.mark.full_size
@pytest.mark.timeout(3600)
def test_the_demo_runs_in_a_fresh_environment(built, tmp_path):
    full = Installed(tmp_path, built.wheel, "[decode,report,lsl,web]")
    shown = full.braind("demo", "--headless")
    assert shown.returncode == 0, shown.stderr
    assert "24 decoded, 0 skipped" in shown.stdout
    with Image.open(full.elsewhere / "braind-demo.png") as image:
        assert image.width > 12 * 128
