"""Trees come back from their own path lengths; supports, families and noise floors are what they say."""
from itertools import permutations

import numpy as np
import pytest

import embgeo_nb as eg
from embgeo_nb.distances import group_distance
from embgeo_nb.manifold import ModelDistance
from embgeo_nb.taxonomy import joins, newick, rooted, splits_of


def random_tree(m, seed):
    "Links, lengths and path lengths of a random binary tree with m leaves."
    rng = np.random.default_rng(seed)
    links, new = [[0, m], [1, m], [2, m]], m + 1
    for leaf in range(3, m):                                # split a link, hang a leaf on it
        at = rng.integers(len(links))
        a, b = links[at]
        links[at] = [a, new]
        links += [[new, b], [leaf, new]]
        new += 1
    links, lengths = np.array(links), rng.uniform(0.1, 1, 2 * m - 3)
    splits = splits_of(links, m)
    apart = (splits[:, :, None] != splits[:, None]).astype(float)
    return splits, lengths, np.einsum("b,bij->ij", lengths, apart)


@pytest.mark.parametrize("m", [3, 4, 5, 12, 40])
@pytest.mark.parametrize("seed", range(3))
def test_a_tree_comes_back(m, seed):
    splits, lengths, paths = random_tree(m, seed)
    T = eg.neighbor_joining(np.sqrt(paths))
    assert np.abs(T.paths - paths).max() < 1e-9 and T.fidelity == pytest.approx(1) and T.squared
    truth = {tuple(split): length for split, length in zip(splits.tolist(), lengths)}
    assert {tuple(split): pytest.approx(length) for split, length in zip(T.splits.tolist(), T.lengths)} == truth
    assert np.allclose(eg.neighbor_joining(paths, squared=False).paths, paths)


def test_order_of_the_models_does_not_matter():
    _, _, paths = random_tree(10, 1)
    order = np.random.default_rng(0).permutation(10)
    one, other = eg.neighbor_joining(paths, squared=False), eg.neighbor_joining(paths[np.ix_(order, order)], squared=False)
    assert np.allclose(one.paths[np.ix_(order, order)], other.paths)


def test_noise_gives_a_tree_without_negative_lengths():
    rng = np.random.default_rng(0)
    for m in (3, 6, 20):
        D = rng.uniform(0.5, 1, (m, m))
        links, lengths = joins((D + D.T) / 2 * (1 - np.eye(m)))
        assert links.shape == (2 * m - 3, 2) and (lengths >= 0).all()
        assert np.bincount(links.ravel(), minlength=2 * m - 2).tolist() == [1] * m + [3] * (m - 2)


def test_support_counts_the_resamples():
    trees = [random_tree(7, seed) for seed in (0, 0, 0, 1)]
    D = ModelDistance(np.sqrt(trees[0][2]), tuple("abcdefg"), "made", False, draws=np.sqrt(np.stack([tree[2] for tree in trees])))
    T = eg.neighbor_joining(D)
    last = {tuple(split) for split in trees[3][0].tolist()}
    assert np.allclose(T.support, [1.0 if tuple(split) in last else 0.75 for split in T.splits.tolist()])
    for split, support in zip(T.splits, T.support):
        inside = [name for name, own in zip(T.models, split) if own]
        assert T.support_of(inside) == T.support_of([name for name in T.models if name not in inside]) == support
    assert set(T.to_frame()["support"]) <= {0.75, 1.0} and len(T.to_frame()) == 4


@pytest.mark.parametrize("outgroup", [None, "model 3"])
def test_rooted_trees_keep_all_lengths(outgroup):
    _, _, paths = random_tree(9, 4)
    T = eg.neighbor_joining(paths, squared=False)
    tree = rooted(T, outgroup)
    assert sorted(tree.up[leaf] for leaf in range(9)) == list(range(9))
    deepest = max(tree.across[leaf] for leaf in range(9))
    if outgroup is None:
        assert deepest == pytest.approx(paths.max() / 2)
    text = newick(T, outgroup)
    assert text.count("(") == text.count(")") == 8 and all(f"'model {leaf}':" in text for leaf in range(9))
    total = sum(float(part.split(")")[0].split(",")[0].rstrip(";")) for part in text.split(":")[1:])
    assert total == pytest.approx(T.lengths.sum(), rel=1e-4)


def test_long_chains_are_no_trouble():
    m = 60
    D = np.abs(np.subtract.outer(np.arange(m), np.arange(m))) + 1.0 - np.eye(m)
    T = eg.neighbor_joining(D, squared=False)
    assert np.abs(T.paths - D).max() < 1e-6 and T.to_newick().endswith(";")


def test_family_test_against_all_labellings():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 2)) + np.repeat([[0, 0], [1.5, 0]], 3, 0)
    D, labels = np.linalg.norm(points[:, None] - points, axis=2), np.array(list("aaabbb"))

    def ratio(labels):
        within = sum((D[np.ix_(labels == f, labels == f)] ** 2).sum() / (2 * (labels == f).sum()) for f in "ab")
        return (D ** 2).sum() / 12 - within, within
    every = [a / b for a, b in (ratio(labels[list(order)]) for order in permutations(range(6)))]
    T = eg.family_test(D, labels, n_permutations=4999)
    between, within = ratio(labels)
    assert T.statistic == pytest.approx(between / (within / 4)) and T.r_squared == pytest.approx(between / (between + within))
    assert T.pvalue == pytest.approx(np.mean(np.array(every) >= between / within - 1e-9), abs=0.02)


def test_lineages_are_units():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(6, 3))
    one = eg.family_test(np.linalg.norm(points[:, None] - points, axis=2), list("aaabbb"), n_permutations=99)
    twice = np.repeat(points, 3, 0)
    same = eg.family_test(np.linalg.norm(twice[:, None] - twice, axis=2), np.repeat(list("aaabbb"), 3), np.repeat(np.arange(6), 3), n_permutations=99)
    assert same.statistic == pytest.approx(one.statistic) and same.pvalue == one.pvalue and len(same.families) == 6


def test_noise_floor_is_exact_where_labels_are_few():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(7, 2)) + np.repeat([[0, 0], [5, 0]], [3, 4], 0)
    D, labels = np.linalg.norm(points[:, None] - points, axis=2), list("xxxyyyy")
    found = group_distance(D, labels).iloc[0]
    from itertools import combinations

    def energy(first):
        second = [i for i in range(7) if i not in first]
        return 2 * D[np.ix_(first, second)].mean() - D[np.ix_(first, first)].mean() - D[np.ix_(second, second)].mean()
    every = np.array([energy(list(first)) for first in combinations(range(7), 3)])
    assert found["pvalue"] == pytest.approx((every >= energy([0, 1, 2]) - 1e-12).mean())
    assert found["between"] == pytest.approx(D[:3, 3:].mean()) and found["ratio"] > 1


def test_shared_dimensions_ignore_order_rotation_and_strangers():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(300, 3))
    emb = {f"m{t}": np.hstack([shared, 0.8 * rng.normal(size=(300, 3))]) for t in range(8)}
    d = eg.n_shared_components(emb, n_neighbors=16)
    turned = {name: 5 * Y @ np.linalg.qr(rng.normal(size=(6, 6)))[0] for name, Y in reversed(emb.items())}
    assert abs(eg.n_shared_components(turned, n_neighbors=16) - d) <= 1 and 3 <= d <= 60
    assert eg.n_shared_components(eg.omnibus(emb, n_neighbors=16, n_components=8)) == d


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_interval_over_models_and_data(method):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 2))
    apart = lambda X: np.linalg.norm(X[:, None] - X, axis=2)
    draws = np.stack([apart(points + 0.3 * rng.normal(size=points.shape)) for _ in range(10)])
    names = tuple(f"m{t}" for t in range(20))
    D = ModelDistance(apart(points), names, "made", False, draws=draws)
    metric = dict(zip(reversed(names), points[::-1, 0]))                        # by name, whatever the order
    A, narrow = eg.association_interval(D, metric, method=method, n_permutations=199), eg.association_interval(D.matrix, points[:, 0], method=method, n_permutations=199)
    M = eg.model_manifold(D).correlate(metric, method=method, n_permutations=199)
    assert A.statistic == narrow.statistic == pytest.approx(M.statistic) and A.pvalue == pytest.approx(M.pvalue, abs=0.02)
    assert A.lower < narrow.lower < A.statistic < narrow.upper < A.upper and A.data_error > 0 == narrow.data_error
    assert eg.association_interval(D, metric, level=0.5, method=method, n_permutations=9).lower > A.lower
