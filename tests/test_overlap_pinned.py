"""Memory of a slot is made known to a GPU's driver, once, and taken back; the driver is a stand-in here."""

from types import SimpleNamespace

import pytest
import torch

from rm_monitor.monitor.overlap import pinned
from rm_monitor.monitor.overlap.slot import Slot, weights


class Driver:
    """Stands in for `torch.cuda.cudart()`."""

    def __init__(self, refuses=False):
        self.refuses, self.calls = refuses, []

    def cudaHostRegister(self, address, size, flags):
        self.calls.append(("register", address, size, flags))
        return 2 if self.refuses else 0

    def cudaHostUnregister(self, address):
        self.calls.append(("unregister", address))
        return 0


@pytest.fixture(params=[False, True], ids=["takes it", "refuses"])
def driver(request, monkeypatch):
    driver = Driver(request.param)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    return driver


def test_a_gpus_driver_is_told_once_and_told_when_it_goes(driver):
    model = torch.nn.Linear(3, 5)
    slot = Slot.for_model(model)
    for _ in range(3):
        slot._pinned.know("cuda")  # as for tensors that lie there
        slot.write(weights(model))
    slot.close()
    kinds = [name for name, *_ in driver.calls]
    assert kinds == (["register"] if driver.refuses else ["register", "unregister"])
    _, address, size, _ = driver.calls[0]
    assert size == slot.size
    assert address == driver.calls[-1][1]


def test_on_a_cpu_no_driver_is_asked(driver):
    model, other = torch.nn.Linear(3, 5), torch.nn.Linear(3, 5)
    slot = Slot.for_model(model)
    slot.write(weights(model))
    slot.read(weights(other))
    slot.close()
    assert driver.calls == []
    assert torch.equal(model.weight, other.weight)


def test_a_copy_is_over_when_every_device_has_said_so(monkeypatch):
    waited = []
    monkeypatch.setattr(
        torch,
        "get_device_module",
        lambda kind: SimpleNamespace(synchronize=lambda device: waited.append(device)),
    )
    cpu, first, second = torch.device("cpu"), torch.device("cuda:0"), torch.device("cuda:1")
    pinned.settle([cpu, first, second, first])
    assert sorted(map(str, waited)) == ["cuda:0", "cuda:1"]
