"""What `braind demo` says where it cannot go on."""

import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, RunningDaemon

from braind import demo
from braind.client.subscriber import DecodeSubscriber


@pytest.fixture
def daemon(files, tmp_path):
    """A daemon that only records."""
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.array(AFFINE)), tmp_path / "mask.nii")
    daemon = RunningDaemon(files, tmp_path / "data", mask=tmp_path / "mask.nii")
    yield daemon.start()
    daemon.close()


def test_a_daemon_that_decodes_nothing_ends_the_demo_although_its_heartbeats_come(daemon, monkeypatch):
    monkeypatch.setattr(demo, "DECODED_WITHIN_S", 2.5)
    port = int(daemon.addresses["decodes"].rpartition(":")[2])
    with (
        DecodeSubscriber("127.0.0.1", port) as subscriber,
        pytest.raises(demo.DemoError, match="nothing was decoded for 2 s, after 0 of 24 volumes"),
    ):
        demo._collect(subscriber)
