"""The pretend device refuses what a real one refuses, and the core works on it."""
import inspect

import numpy as np
import pytest
import torch

import embgeo_nb as eg
from embgeo_nb import kernel as kernel_module
from embgeo_nb import rdpg as rdpg_module
from devices import pretend_device


def rows(n=300, p=8):
    return np.random.default_rng(0).normal(size=(n, p)).astype("f4")


def test_it_refuses_to_mix():
    with pretend_device():
        there = torch.as_tensor(np.ones(3), device="cuda")
        assert there.device == torch.device("cuda", 0) and (2 * there).device.type == "cuda" and there.cpu().device.type == "cpu"
        for mixed in (lambda: there + torch.ones(3), lambda: torch.cat([there, torch.ones(3)]), lambda: torch.ones(4)[there.long()],
                      lambda: there.double() @ torch.ones(3, dtype=torch.float64)):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        for whole in (lambda: there.numpy(), lambda: np.asarray(there)):
            with pytest.raises(TypeError, match="numpy"):
                whole()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there():
    K = eg.data_kernel(rows(600), 8)
    for work in (lambda: eg.data_kernel(rows(), 8, device="cuda"), lambda: eg.spectral_embedding(K, 8, device="cuda"),
                 lambda: eg.omnibus({"a": K, "b": K}, 8, device="cuda"), lambda: eg.data_kernel(rows(), 8, device="nowhere")):
        with pytest.raises(ValueError, match="device"):
            work()


def test_too_little_memory_halves_the_block():
    wanted = eg.data_kernel(rows(), 8)
    with pretend_device(limit=100 * 300) as device, pytest.warns(UserWarning, match="ran out of memory with 300 rows at a time; it goes on with 150"):
        found = eg.data_kernel(rows(), 8, device="cuda")
    assert device.refused == 2 and (found.neighbors == wanted.neighbors).all() and (found.graph != wanted.graph).nnz == 0
    with pretend_device(limit=200), pytest.warns(UserWarning), pytest.raises(MemoryError, match="single row"):
        eg.data_kernel(rows(), 8, device="cuda")


@pytest.mark.parametrize("bf16", [False, True])
def test_data_that_do_not_fit_stay_on_the_host(bf16):
    Y = rows(4200, 256) if bf16 else rows()
    with pretend_device(free=1000, bf16=bf16):
        assert (eg.data_kernel(Y, 8, device="cuda").neighbors == eg.data_kernel(Y, 8).neighbors).all()


MUTATIONS = [(kernel_module, "SearchRows.exact", "which.to(self.Y.device)].to(self.device)", "which.to(self.Y.device)]"),
             (kernel_module, "_gathered", "data.Y[part.to(data.Y.device)].to(data.device)", "data.Y[part.to(data.Y.device)]"),
             (kernel_module, "_gathered", "dtype=torch.float64, device=data.device", "dtype=torch.float64"),
             (kernel_module, "nearest_between", ", device=data.device)", ")"),
             (kernel_module.Nearest, "on_cpu", "self.neighbors.cpu().numpy()", "self.neighbors.numpy()"),
             (rdpg_module, "to_torch", 'device=device or "cpu"', 'device="cpu"'),
             (rdpg_module, "start_block", "device=check_device(device)", 'device="cpu"')]


@pytest.mark.parametrize("place, name, old, new", MUTATIONS, ids=[f"{name}-{number}" for number, (_, name, *_) in enumerate(MUTATIONS)])
def test_a_lost_device_is_noticed(place, name, old, new, monkeypatch):
    "One transfer taken out of the core, and the pretend device complains."
    owner, attribute = (getattr(place, name.split(".")[0]), name.split(".")[1]) if "." in name else (place, name)
    source = inspect.cleandoc("\n" + inspect.getsource(getattr(owner, attribute)))
    assert old in source
    module = kernel_module if place is kernel_module.Nearest else place
    scope = dict(vars(module))
    exec("from __future__ import annotations\n" + source.replace(old, new), scope)
    monkeypatch.setattr(owner, attribute, scope[attribute])
    with pretend_device(free=1000 if "SearchRows" in name or name == "_gathered" else 2 ** 33), pytest.raises((RuntimeError, TypeError)):
        K = eg.data_kernel(rows(600), 8, device="cuda")
        eg.spectral_embedding(K, 8, device="cuda")
