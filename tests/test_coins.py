"""Every datum has coins of its own, and as many flips as it takes."""
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from embgeo_nb.coins import HITS, coin_flips, flip_pvalues, id_keys, key_order, put_back
from reference import each_device, enumerated_pvalue


@pytest.mark.parametrize("n_resamples, count, enumerated", [(1023, 11, True), (1023, 12, False), (1022, 10, True), (1022, 11, False), (19, 5, True), (19, 6, False)])
def test_enumeration_where_it_is_no_dearer_than_sampling(n_resamples, count, enumerated):
    vectors = np.random.default_rng(0).normal(size=(count + 1, 3))
    difference = sp.csr_array(np.vstack([np.r_[0, np.ones(count)], np.zeros((count, count + 1))]))
    found = flip_pvalues(difference, torch.tensor(vectors, dtype=torch.float32), np.arange(len(vectors)), n_resamples, 0)[0]
    exact = enumerated_pvalue(np.ones(count), vectors[1:])
    assert (found == exact) == enumerated and abs(found - exact) < 5 * np.sqrt(exact * (1 - exact) / min(n_resamples, HITS / exact))


@pytest.mark.parametrize("pairs", [3, 8])
def test_nothing_is_more_cancelled_than_zero(pairs):
    "As many equal vectors gained as lost: T = 0, which every draw reaches."
    found = []
    for seed in range(30):
        half = np.random.default_rng(seed).normal(size=(pairs, 6))
        signs = np.r_[np.ones(pairs), -np.ones(pairs)]
        difference = sp.csr_array(np.vstack([np.r_[0, signs], np.zeros((2 * pairs, 2 * pairs + 1))]))
        loadings = torch.tensor(np.vstack([half[:1], half, half]), dtype=torch.float32)
        found.append(flip_pvalues(difference, loadings, np.arange(2 * pairs + 1), 999, seed)[0])
    assert min(found) == 1


@each_device
def test_coins_are_fair_and_unrelated(device):
    coins = coin_flips(7, torch.arange(100, device=device), 0, 400, 130).cpu().double()
    assert coins.dtype == torch.float64 and set(coins.unique().tolist()) == {-1, 1} and abs(coins.mean()) < 4 / np.sqrt(coins.numel())
    for axis in range(3):                                        # between data, between draws, between positions
        X = coins.movedim(axis, 0).reshape(coins.shape[axis], -1)
        related = (X @ X.T / X.shape[1]).fill_diagonal_(0).abs().max()
        assert related < 6.5 / np.sqrt(X.shape[1])


@each_device
def test_coins_depend_on_seed_datum_draw_and_position_alone(device):
    data = torch.tensor([3, 99, 12345], device=device)
    whole = coin_flips(5, data, 0, 50, 200)
    assert (coin_flips(5, data.flip(0), 20, 7, 70) == whole.flip(0)[:, 20:27, :70]).all()
    assert float((coin_flips(6, data, 0, 50, 200) != whole).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert (whole.cpu() == coin_flips(5, data.cpu(), 0, 50, 200)).all()


HASHED = [3405396810240292928, 8453121595177857668]        # of 'a' and 'b': the same on every machine and in every version


def test_keys():
    assert id_keys(np.array([3, -1])).tolist() == [3, -1] and id_keys(np.array([2 ** 64 - 1], np.uint64)).tolist() == [-1]
    assert id_keys(np.array(["a", "b"])).tolist() == id_keys(np.array(["a", "b"], object)).tolist() == HASHED
    assert id_keys(np.array(["a", "ä"])).dtype == np.int64 and len(set(id_keys(np.array([f"{i}" for i in range(10_000)])).tolist())) == 10_000
    assert id_keys(np.array([2 ** 70, 5], object))[1] == 5
    keys = np.array([5, 1, 9])
    assert key_order(keys).tolist() == [1, 0, 2] and key_order(np.sort(keys)) is None
    assert put_back(np.array([[1], [5], [9]]), key_order(keys))[:, 0].tolist() == keys.tolist()
