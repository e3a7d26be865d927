"""The frame is the mean graph's own, and cannot tell two graphs apart."""
import numpy as np
import pytest
import scipy.sparse as sp

import embgeo_nb as eg
from embgeo_nb.frame import displaced, frame_of, relative_length
from embgeo_nb.omnibus import as_graphs, difference_graph
from reference import assert_a_result, each_device, eigenpairs, random_graph, up_to_signs, views


def knn(m, n=150, symmetrize="union"):
    Y = views("abcde"[:m], n)
    return {name: eg.data_kernel(Y[name], 10, symmetrize=symmetrize).graph for name in Y}


@each_device
def test_frame(device):
    graphs = as_graphs(knn(3))
    F = eg.frame(graphs.mean, 6, tol=1e-10, device=device)
    A = sum(graph.toarray().astype(float) for graph in graphs.graphs.values()) / 3
    values, vectors = eigenpairs(A, 6)
    assert np.abs(F.eigenvalues / values - 1).max() < 1e-6                # the mean of float32 graphs
    wanted = vectors * np.sqrt(np.abs(values))
    assert np.abs(up_to_signs(F.center, wanted) - wanted).max() < 1e-5
    assert np.abs(F.loadings * F.eigenvalues - F.center).max() < 1e-12


def test_negative_eigenvalues():
    "A graph whose edges lead from one half to the other: half of its eigenvalues are negative, and loadings keep the sign."
    half = np.repeat([0, 1], 30)
    A = np.where(np.not_equal.outer(half, half), random_graph(60, 0.5, 3).toarray(), 0)
    F = eg.frame(sp.csr_array(A), 4, tol=1e-10)
    values, vectors = eigenpairs(A.astype(float), 4)
    order = np.argsort(values)[np.argsort(np.argsort(F.eigenvalues))]                            # equal in size, but for the sign
    values, vectors = values[order], vectors[:, order]
    assert np.allclose(F.eigenvalues, values) and sorted(np.sign(values)) == [-1, -1, 1, 1] and F.n_components == 4
    wanted = vectors / np.sqrt(np.abs(values)) * np.sign(values)
    assert np.allclose(up_to_signs(F.loadings, wanted), wanted, atol=1e-5) and np.allclose(A @ F.loadings, F.center, atol=1e-5)


def test_the_frame_as_a_result():
    A = next(iter(knn(1).values()))
    assert_a_result(eg.frame(A, 2))
    for tol in (-0.1, 1.5):
        with pytest.raises(ValueError, match="tol must be between 0 and 1"):
            eg.frame(A, 2, tol=tol)


def test_frame_does_not_see_signs():
    "Swapping the two graphs at any set of edges leaves the frame as it is."
    A, B = knn(2).values()
    swap = random_graph(150, 0.5, 7)
    C = sp.csr_array(A + (B - A).multiply(swap))
    E = sp.csr_array(B + (A - B).multiply(swap))
    frames = [eg.frame(as_graphs(pair).mean, 5) for pair in ({"a": A, "b": B}, {"a": C, "b": E})]
    assert (frames[0].loadings == frames[1].loadings).all() and difference_graph(as_graphs({"a": C, "b": E}), "a", "b").nnz == difference_graph(as_graphs({"a": A, "b": B}), "a", "b").nnz


def test_displacements_go_from_the_first_to_the_second():
    graphs = as_graphs(knn(2))
    F, (A, B) = eg.frame(graphs.mean, 5), (graph.toarray() for graph in graphs.graphs.values())
    D = displaced(difference_graph(graphs, "a", "b"), F)
    assert np.abs(D - (B - A) @ F.loadings / 2).max() < 1e-12 and (displaced(difference_graph(graphs, "b", "a"), F) == -D).all()
    assert np.allclose(relative_length(np.linalg.norm(D, axis=1), F), np.linalg.norm(D, axis=1) / np.linalg.norm(F.center, axis=1))


def test_lengths_relative_to_nothing():
    F = eg.frame(sp.csr_array(np.array([[0, 1.0, 0], [1, 0, 0], [0, 0, 0]])), 1)
    assert relative_length(np.array([1.0, 0, 2.0]), F)[1:].tolist() == [0, np.inf] and relative_length(np.zeros(3), F).tolist() == [0, 0, 0]


def test_who_makes_the_frame():
    assert frame_of("a", "b") == ("a", "b") and frame_of("b", "a", ["c"]) == ("b", "a", "c")
    for bad, error, word in (("c", TypeError, "got 'c'"), (["a"], ValueError, "got 'a'"), (["c", "c"], ValueError, "got 'c', 'c'"),
                             ([["c"], ["d"]], TypeError, r"got \['c'\]")):
        with pytest.raises(error, match=f"frame_models.*{word}"):
            frame_of("a", "b", bad)


def test_a_datum_at_the_origin_that_moves_moved_infinitely_far():
    from embgeo_nb.frame import Frame, relative_length
    coordinates = Frame(np.array([[0.0, 0], [0, 0], [3, 4]]), np.zeros((3, 2)), np.ones(2))
    assert relative_length(np.array([0.25, 0, 0.5]), coordinates).tolist() == [np.inf, 0, 0.1]
