"""The curves follow the flips, out to where these can be checked."""
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import beta, betaprime, gamma, norm, t as student

from embgeo_nb.tail import chaos_cumulants, conditional_tail, pearson_sf, pearson_tail, tail_pvalues
from reference import enumerated_pvalue


def all_signs(r):
    return 1.0 - 2.0 * ((np.arange(2 ** r)[:, None] >> np.arange(r)) & 1)


@pytest.mark.parametrize("r, d", [(2, 1), (3, 5), (6, 1), (10, 4), (13, 40)])
@pytest.mark.parametrize("padding", [0, 5])
def test_cumulants_against_all_patterns(r, d, padding):
    vectors = np.random.default_rng(r).normal(size=(r, d)) * np.random.default_rng(d).uniform(0.2, 2, (r, 1))
    T = ((all_signs(r) @ vectors) ** 2).sum(1)
    c = T - T.mean()
    wanted = [T.mean(), (c ** 2).mean(), (c ** 3).mean(), (c ** 4).mean() - 3 * (c ** 2).mean() ** 2, ((vectors @ vectors.T) ** 2).sum()]
    found = chaos_cumulants(torch.tensor(np.vstack([vectors, np.zeros((padding, d))]))[None])[0]
    assert np.allclose(found, wanted, rtol=1e-9, atol=1e-9 * wanted[1] ** 2)


@pytest.mark.parametrize("distribution", [beta(0.7, 3), beta(5, 2), beta(4, 4), gamma(0.5), gamma(40), betaprime(2, 9), betaprime(6, 30), norm(), student(6), student(30)],
                         ids=lambda own: f"{own.dist.name}-{own.args}")
def test_pearson_curves_are_the_classical_distributions(distribution):
    mean, variance, skewness, kurtosis = (float(moment) for moment in distribution.stats("mvsk"))
    x = distribution.isf([0.99, 0.5, 0.05, 1e-3, 1e-6])
    assert np.abs(pearson_sf((x - mean) / np.sqrt(variance), skewness, kurtosis) / distribution.sf(x) - 1).max() < 0.02


@pytest.mark.filterwarnings("error")
def test_pearson_tails_are_probabilities_and_fall():
    "Over the plane of moments, across all types; the mirrored curve is the lower tail."
    x = np.linspace(-6, 12, 181)
    for skewness in (-2.0, -0.7, -0.1, 0.0, 0.1, 0.7, 2.0):
        for above in (1e-3, 0.3, 1.0, 1.5, 2.0, 4.0):            # above the lower bound, kurtosis >= skewness^2 - 2
            kurtosis = skewness ** 2 - 2 + above
            p, mirrored = pearson_sf(x, skewness, kurtosis), pearson_sf(-x, -skewness, kurtosis)
            assert (np.diff(p) <= 1e-9).all() and p.min() >= 0 and p.max() <= 1 and np.abs(p + mirrored - 1)[np.abs(x) > 0.11].max() < 1e-6


@pytest.mark.parametrize("d", [2, 8, 60])
def test_tail_against_all_patterns(d):
    "Sixteen edges: too many to be enumerated by default, few enough for the truth."
    patterns, ratios = all_signs(16), []
    for seed in range(12):
        vectors = np.random.default_rng(seed).normal(size=(17, d)).astype(np.float32)
        T = np.sort(((patterns @ vectors[1:].astype(float) / 2) ** 2).sum(1))[::-1]
        for level in (0.3, 0.05, 0.01, 0.001):
            signs = patterns[np.argsort(-((patterns @ vectors[1:].astype(float) / 2) ** 2).sum(1))[int(level * len(T)) - 1]]
            difference = sp.csr_array(np.vstack([np.r_[0, signs], np.zeros((16, 17))]))
            found = tail_pvalues(difference, torch.tensor(vectors), 9999)[0]
            ratios.append((level, found / level))
    for level, low, high in ((0.3, 0.9, 1.1), (0.05, 0.9, 1.1), (0.01, 0.93, 1.08), (0.001, 0.85, 1.25)):
        assert low < np.median([ratio for at, ratio in ratios if at == level]) < high


@pytest.mark.parametrize("q", [2, 4, 7])
def test_conditioning_on_the_strongest_coins(q):
    "Their vectors added up, pattern by pattern, give the same mixture."
    vectors = np.random.default_rng(q).normal(size=(12, 5)) * np.linspace(0.3, 2, 12)[:, None]
    K = vectors @ vectors.T
    strongest = np.argsort(-((K - np.diag(np.diag(K))) ** 2).sum(1))
    big, rest = vectors[strongest[:q]], vectors[strongest[q:]]
    for T in np.quantile(((all_signs(12) @ vectors) ** 2).sum(1), [0.5, 0.99, 0.9995]):
        joined = np.stack([np.vstack([signs @ big, rest]) for signs in all_signs(q)])
        wanted = pearson_tail(np.full(len(joined), T), chaos_cumulants(torch.tensor(joined))).mean()
        assert conditional_tail(np.array([T]), torch.tensor(K)[None], q)[0] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("n_resamples", [19, 31, 99, 600, 9999])
@pytest.mark.parametrize("width", [0, 2])
def test_tail_with_few_resamples(n_resamples, width):
    "Fewer edges differ than coins are conditioned on: the p-value is that of all patterns."
    for count in range(1, 12):
        vectors = np.random.default_rng(count).normal(size=(count + 1 + width, 3)).astype(np.float32)
        vectors[1:] = np.abs(vectors[1:]) + 0.5                       # all pull one way: far out in the tail
        rows = [np.r_[0, np.ones(count), np.zeros(width)], np.r_[0, np.ones(count + width)]]
        difference = sp.csr_array(np.vstack([*rows, np.zeros((count + width - 1, count + width + 1))]))
        found = tail_pvalues(difference, torch.tensor(vectors), n_resamples)
        assert found[0] == pytest.approx(enumerated_pvalue(np.ones(count), vectors[1:count + 1].astype(float))) and ((found > 0) & (found <= 1)).all()
        v = vectors[1:].astype(float) / 2
        assert conditional_tail(np.array([((v.sum(0)) ** 2).sum() * (1 - 1e-6)]), torch.tensor(v @ v.T)[None], 60)[0] == pytest.approx(2.0 ** (1 - len(v)))
