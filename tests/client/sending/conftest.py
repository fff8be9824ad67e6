"""Files of these tests are written whole, so nothing waits for blank parts of them to be filled."""

import pytest


@pytest.fixture(autouse=True)
def files_are_filled_at_once(monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.FILL_PATIENCE_S", 0)
