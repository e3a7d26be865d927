"""A pretend CUDA device: tensors that say they are elsewhere, compute on the CPU, and refuse to mix with tensors that are not."""
from contextlib import contextmanager
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("cuda", 0)
FACTORIES = ("empty", "zeros", "ones", "full", "arange", "eye", "tensor", "as_tensor", "rand", "randn", "randint", "linspace")
INDEXING = ("__getitem__", "__setitem__", "index_put_")
TO_NUMPY = ("numpy", "__array__", "tolist_without_copy")


class Elsewhere(torch.Tensor):
    "A tensor on the pretend device; `inner` is where its numbers are."

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype, device=DEVICE)

    def __init__(self, inner):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} met a tensor of the pretend device outside of it.")


def mapped(change, part):
    "`part` with `change` made to every tensor in it."
    if isinstance(part, torch.Tensor):
        return change(part)
    if isinstance(part, dict):
        return {name: mapped(change, value) for name, value in part.items()}
    if isinstance(part, (tuple, list)):
        values = [mapped(change, value) for value in part]
        plain = type(part) in (tuple, list) or not hasattr(part, "n_fields")
        return type(part)(values) if plain and type(part) is not torch.Size else part if type(part) is torch.Size else type(part)(tuple(values))
    return part


def tensors(part):
    found = []
    mapped(lambda tensor: found.append(tensor) or tensor, part)
    return found


def inner(tensor):
    return tensor.inner if isinstance(tensor, Elsewhere) else tensor


def is_elsewhere(device):
    return isinstance(device, (str, torch.device)) and torch.device(device).type == "cuda"


class Pretend(TorchFunctionMode):
    "Sees every call of torch. `limit`: the numbers that one new tensor may hold."

    def __init__(self, limit=None):
        super().__init__()
        self.limit, self.refused = limit, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        given = tensors((args, kwargs))
        there = [tensor for tensor in given if isinstance(tensor, Elsewhere)]
        if getattr(func, "__self__", None) is torch.Tensor.device:
            return DEVICE if there else func(*args)
        if func is torch.Tensor.to or name in ("cuda", "cpu"):
            return self.moved(name, args, kwargs)
        if there and name in TO_NUMPY:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")
        made = name in FACTORIES and is_elsewhere(kwargs.get("device"))
        if there and not made:
            self.check(name, args, given)
        if not there and not made:
            return func(*args, **kwargs)
        if made and self.limit and name in FACTORIES[:4]:
            self.remember(args)
        if "device" in kwargs:
            kwargs["device"] = "cpu"
        found = func(*mapped(inner, args), **mapped(inner, kwargs))
        if name == "__iter__":
            return iter([Elsewhere(part) for part in found])
        same = {id(tensor.inner): tensor for tensor in there}
        return mapped(lambda tensor: same.get(id(tensor)) if id(tensor) in same else Elsewhere(tensor), found)

    def check(self, name, args, given):
        "What a device refuses: tensors of the host beside its own, but for numbers and (as in torch) indices."
        if name in ("copy_", "type_as"):
            return
        if name in INDEXING and isinstance(args[0], Elsewhere):
            indexed = bool(tensors(args[1]))
            given = tensors(args[2:]) if indexed else []
        if any(tensor.dim() for tensor in given if not isinstance(tensor, Elsewhere)) or name in INDEXING and not isinstance(args[0], Elsewhere):
            raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({name})")

    def remember(self, size):
        size = size[0] if size and isinstance(size[0], (tuple, list)) else [part for part in size if isinstance(part, int)]
        if torch.Size(size).numel() > self.limit:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")

    def moved(self, name, args, kwargs):
        tensor, rest = args[0], [*args[1:], *kwargs.values()]
        like = tensors(rest)
        where = [part for part in rest if isinstance(part, (str, torch.device))]
        dtype = [part for part in rest if isinstance(part, torch.dtype)] + [part.dtype for part in like]
        goes = any(map(is_elsewhere, where)) or any(isinstance(part, Elsewhere) for part in like) or name == "cuda"
        goes = goes or isinstance(tensor, Elsewhere) and not where and not like and name != "cpu"
        found = inner(tensor).to(dtype[0]) if dtype else inner(tensor)
        if goes:
            return tensor if isinstance(tensor, Elsewhere) and found is tensor.inner else Elsewhere(found)
        return found.clone() if isinstance(tensor, Elsewhere) and found is tensor.inner else found


@contextmanager
def pretend_device(free=8 * 2 ** 30, limit=None, bf16=False):
    "`device='cuda'` means the pretend device inside; it has `free` bytes and no room for a new tensor of more than `limit` numbers."
    stand_ins = {"is_available": lambda: True, "mem_get_info": lambda *args: (free, 2 * free), "is_bf16_supported": lambda *args, **options: bf16,
                 "device_count": lambda: 1, "current_device": lambda: 0, "synchronize": lambda *args: None, "empty_cache": lambda: None}
    with mock.patch.multiple("torch.cuda", **stand_ins), Pretend(limit) as mode:
        yield mode
