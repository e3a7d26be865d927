"""What holds for every test: nothing is downloaded and no window opens; and a device to pretend on."""
import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")


def pytest_configure(config):
    config.addinivalue_line("markers", "pretend: device='cuda' means the pretend device of devices.py")


@pytest.fixture(autouse=True)
def _device(request):
    if request.node.get_closest_marker("pretend") is None:
        yield
        return
    from devices import pretend_device
    with pretend_device():
        yield


def pytest_collection_modifyitems(items):
    "The longest first, so that no process is left with it at the end: the tour, then the other notebooks."
    items.sort(key=lambda item: (item.path.name != "test_notebooks.py", "tour" not in item.name))
