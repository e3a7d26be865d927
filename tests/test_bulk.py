"""The fitted null by hand: from scores whose quantiles are known, and at the edges of what is trusted."""
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.stats import norm, t as student

from embgeo_nb.bulk import DEGREES, BulkNull, bulk_null, diagnosis, parting, plot_bulk
from reference import assert_a_result, defaults

LOWER = 0.15865525393145707                       # Phi(-1)
GOOD = BulkNull(0.0, 1.0, 1.0, np.ones(3), 1.0, 1.0, 0.0, 0.0)


def scores_at(shares, quantiles, n=10_000):
    "n + 1 scores, shuffled, with these quantiles, straight lines between them, and one unit beyond either end."
    values = np.interp(np.arange(n + 1) / n, [0, *shares, 1], [quantiles[0] - 1, *quantiles, quantiles[-1] + 1])
    return np.random.default_rng(0).permutation(values)


def scores(low, lower, quarter, center, upper, high=9.0):
    return scores_at([0.05, LOWER, 0.25, 0.5, 0.75, 0.95], [low, lower, quarter, center, upper, high])


@pytest.mark.parametrize("upper, margin", [(1.6, 0.6 / 0.6745 + 0.05), (1.7, 0.7 / 0.6745 + 0.05), (1.5, 0.9), (1.9, 1.15), (7, 1.15)])
def test_the_null_by_hand(upper, margin):
    score = scores(-1.0, 0.0, 0.4, 1.0, upper)
    null = bulk_null(score)
    assert (null.center, null.spread) == pytest.approx((1, 1), abs=1e-3) and null.margin == pytest.approx(margin, abs=1e-3)
    assert null.tail == pytest.approx(2 / 1.6449, abs=1e-3) and null.core == pytest.approx(0.6 / 0.6745, abs=1e-3) and null.parted == 0
    wanted = student.sf((score - null.center) / (null.margin * null.spread), 20)
    assert np.allclose(null.pvalue, wanted, rtol=1e-9) and null.share == pytest.approx(max(((wanted <= 0.05).mean() - 0.05) / 0.95, 0))
    twice = bulk_null(2 * score + 3)
    assert (twice.center, twice.spread, twice.margin, twice.tail, twice.core, twice.share) == pytest.approx(
        (2 * null.center + 3, 2 * null.spread, null.margin, null.tail, null.core, null.share))
    assert np.allclose(twice.pvalue, null.pvalue)


def test_the_constants_are_those_of_the_normal_distribution():
    assert DEGREES == 20 and norm.cdf(-1) == pytest.approx(LOWER)
    null = bulk_null(norm.ppf((np.arange(100_000) + 0.5) / 100_000))
    assert (null.center, null.spread, null.tail, null.core) == pytest.approx((0, 1, 1, 1), abs=1e-3)
    assert null.margin == pytest.approx(1.05, abs=1e-3) and null.share == 0 and null.trusted


def test_what_stands_still_and_what_parts():
    score, still = scores(-1.0, 0.0, 0.4, 1.0, 1.7), np.arange(10_001) % 3 == 0
    null, plain, parted = bulk_null(score, still), bulk_null(score), bulk_null(score, alignment=-score)
    assert (null.pvalue[still] == 1).all() and np.array_equal(null.pvalue[~still], plain.pvalue[~still])
    assert null.share == pytest.approx(((null.pvalue <= 0.05).mean() - 0.05) / 0.95) and (null.center, null.spread) == (plain.center, plain.spread)
    assert parted.parted == parting(-score) > 1 and np.array_equal(parted.pvalue, plain.pvalue)


def test_scores_without_spread():
    "What does not differ from the median keeps p = 1/2; the unit is a millionth."
    null = bulk_null(np.r_[np.zeros(20), 1e-6, -1e-6, 1.0])
    assert null.spread == null.tail == null.core == 0 and null.margin == 0.9 and (null.pvalue[:20] == 0.5).all()
    assert null.pvalue[20] == pytest.approx(student.sf(1 / 0.9, 20)) and null.pvalue[22] < 1e-12
    small = bulk_null(1e-4 * np.arange(101.0))
    assert small.pvalue[-1] == pytest.approx(student.sf(50 / (small.margin * (50 - 100 * LOWER)), 20))
    tiny = bulk_null(1e-9 * np.arange(101.0))                                  # spread below the unit, and yet no nan
    assert tiny.spread == pytest.approx(1e-9 * (50 - 100 * LOWER)) and tiny.pvalue[-1] == pytest.approx(student.sf(0.05 / 0.9, 20), rel=1e-6)


@pytest.mark.parametrize("quantiles, wanted", [
    ((-4, -3, 0, 1, 3), 3 / 1.3),                          # the inner part: 3 against 1
    ((-9, -1, 0, 1, 2), 4.5 / 1.45),                       # the outer part: 9 against 2
    ((-2, -0.2, 1.8, 1.8, 1.9), 2 / 0.05 / 1.3),           # an upper half without spread: counted as 0.05,
    ((-4, 0, 0, 0.01, 0.01), 4 / 0.08 / 1.45),              # or as 0.08
    ((-1, -0.5, 0, 0.5, 1), 1 / 1.3),                      # symmetric
])
def test_parting_by_hand(quantiles, wanted):
    values = scores_at([0.05, 0.1587, 0.5, 0.8413, 0.95], quantiles)
    assert parting(values) == pytest.approx(wanted / (1 + 4 / np.sqrt(10_001)), rel=2e-3)
    assert parting(values + 7) == pytest.approx(parting(values)) and isinstance(parting(values), float)
    few = np.sort(values)[::100]                           # 101 values: fewer data scatter more
    assert parting(few) == pytest.approx(wanted / (1 + 4 / np.sqrt(101)), rel=0.05)


def test_what_is_trusted():
    "One step inside every limit, and one outside."
    assert GOOD.trusted and not GOOD.most_moved
    good = [dict(tail=0.821), dict(tail=1.499), dict(core=1.199), dict(core=0.0), dict(share=0.399), dict(parted=0.999), dict(spread=1e-9), dict(parted=-1.0)]
    bad = [dict(tail=0.82), dict(tail=1.5), dict(core=1.2), dict(core=1.3), dict(share=0.4), dict(share=0.6), dict(parted=1.0), dict(parted=1.5),
           dict(spread=0.0), dict(tail=0.5), dict(tail=2.0)]
    assert all(replace(GOOD, **part).trusted and not replace(GOOD, **part).most_moved for part in good)
    assert not any(replace(GOOD, **part).trusted for part in bad)
    assert [replace(GOOD, **part).most_moved for part in bad] == [False] * 4 + [True] * 4 + [False] * 3
    assert_a_result(GOOD, "center", "spread", "margin", "tail", "core", "share", "parted")
    assert defaults(BulkNull) == {"parted": 0.0}


@pytest.mark.parametrize("part, words", [
    ({}, "one kind of noise: the bulk is a yardstick"), (dict(tail=1.6), "not one kind of noise"), (dict(core=1.2), "not one kind of noise"),
    (dict(share=0.4), "About 40% of the data stand out"), (dict(share=0.67, tail=9), "About 67% of the data"),
    (dict(spread=0.0), "More than half of the data have the same score"), (dict(spread=0.0, share=0.5), "have the same score"), (dict(spread=-1.0), "have the same score"),
    (dict(parted=1.0), "seem to have moved"), (dict(parted=2.0, spread=0.0, share=0.5), "seem to have moved"),
    (dict(parted=0.99, tail=1.49, core=1.19, share=0.39, spread=1e-9), "the bulk is a yardstick"),
])
def test_diagnoses(part, words):
    assert words in diagnosis(replace(GOOD, **part))


def test_picture():
    "Bars are the data, all of them; the curve is the null's density, and beyond the line lies a twentieth of it."
    score = np.r_[np.random.default_rng(0).normal(size=5000), 40.0, -40.0]
    null = bulk_null(score)
    width, ax = null.spread * null.margin, plot_bulk(score, null)
    curve, line = ax.lines
    x, y = curve.get_data()
    step = x[1] - x[0]
    assert len(x) == 80 and [bar.get_height() for bar in ax.patches] == np.histogram(np.clip(score, x[0], x[-1]), x)[0].tolist()
    assert x[0] == pytest.approx(np.quantile(score, 0.001)) and x[-1] == pytest.approx(max(null.center + 4 * width, np.quantile(score, 0.999)))
    assert np.allclose(y, student.pdf((x - null.center) / width, 20) / width * 5002 * step, rtol=1e-3)
    assert student.sf((line.get_xdata()[0] - null.center) / width, 20) == pytest.approx(0.05, abs=1e-5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["data", "fitted null", "p = 0.05"] and not ax.get_legend().get_frame_on()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("score", "data") and plot_bulk(score, null, ax) is ax
    far = np.r_[score, np.linspace(20, 30, 100)]
    assert plot_bulk(far, bulk_null(far)).lines[0].get_xdata()[-1] == pytest.approx(np.quantile(far, 0.999))
    flat = plot_bulk(np.zeros(50), bulk_null(np.zeros(50)))
    assert np.isfinite(flat.lines[0].get_ydata()).all() and flat.lines[1].get_xdata()[0] == pytest.approx(1.7247e-6)
    plt.close("all")
