"""Mining on vectors whose neighbours are known by construction."""

import numpy as np
import pytest

from xling_align.eval.metrics.mining import Candidates, best_candidates
from xling_align.eval.metrics.neighbours import Neighbours
from xling_align.trainers.adaptive import neighbours as search
from xling_align.trainers.adaptive.mining import REASONS, Members, Pool, document_candidates, select_pairs
from xling_align.trainers.adaptive.neighbours import nearest_neighbours


def unit(values) -> np.ndarray:
    vectors = np.asarray(values, np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def noisy_copies(sentences: int = 300, dim: int = 32, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources, targets, and the target of each source: a shuffled copy with noise."""
    generator = np.random.default_rng(0)
    sources = unit(generator.standard_normal((sentences, dim)))
    to = generator.permutation(sentences)
    targets = np.zeros_like(sources)
    targets[to] = unit(sources + noise * unit(generator.standard_normal((sentences, dim))))
    return sources, targets, to


def proposals(sources, targets, k=4):
    forward, backward = nearest_neighbours(sources, targets, k), nearest_neighbours(targets, sources, k)
    return best_candidates(forward, backward)


def pairs_of(candidates: Candidates, reasons, reason="taken") -> set[tuple[int, int]]:
    chosen = candidates.at(reasons == REASONS.index(reason))
    return set(zip(chosen.source.tolist(), chosen.target.tolist(), strict=True))


def test_neighbours_are_those_of_a_full_sort():
    sources, targets, _ = noisy_copies()
    cosines = sources @ targets.T
    found = nearest_neighbours(sources, targets, 4)
    assert (found.rows == np.argsort(-cosines, 1)[:, :4]).all()
    np.testing.assert_allclose(found.cosines, -np.sort(-cosines, 1)[:, :4], rtol=1e-5)


def test_shards_and_query_blocks_change_nothing(monkeypatch):
    sources, targets, _ = noisy_copies()
    whole = nearest_neighbours(sources, targets, 4)
    monkeypatch.setattr(search, "EXACT_SHARD", 7)
    monkeypatch.setattr(search, "QUERY_BLOCK", 11)
    split = nearest_neighbours(sources, targets, 4)
    assert (split.rows == whole.rows).all()
    np.testing.assert_allclose(split.cosines, whole.cosines, rtol=1e-5)


def test_fewer_keys_than_k_give_all_keys():
    sources, targets, _ = noisy_copies()
    found = nearest_neighbours(sources, targets[:3], 4)
    assert (np.sort(found.rows, 1) == [0, 1, 2]).all()


def test_approximate_equals_exact_where_it_searches_every_cluster():
    sources, targets, _ = noisy_copies(1000)  # 25 clusters, 32 are searched
    exact, approximate = (nearest_neighbours(sources, targets, 4, kind) for kind in ("exact", "approximate"))
    assert (exact.rows == approximate.rows).all()
    np.testing.assert_allclose(exact.cosines, approximate.cosines, rtol=1e-5)


def test_approximate_finds_the_pairs_that_exact_finds_among_thousands():
    sources, targets, to = noisy_copies(3000)
    found = nearest_neighbours(sources, targets, 4, "approximate")
    assert (found.rows[:, 0] == to).mean() > 0.98


def test_a_search_cut_short_goes_on_with_the_next_shard(tmp_path, monkeypatch):
    sources, targets, _ = noisy_copies()
    monkeypatch.setattr(search, "EXACT_SHARD", 100)
    whole = nearest_neighbours(sources, targets, 4)
    searched = []

    def stopping(keys):
        if len(searched) == 2:
            raise KeyboardInterrupt
        searched.append(len(keys))
        return original(keys)

    original = search.exact_search
    monkeypatch.setattr(search, "exact_search", stopping)
    with pytest.raises(KeyboardInterrupt):
        nearest_neighbours(sources, targets, 4, save=tmp_path / "found.npz")
    searched.clear()
    resumed = nearest_neighbours(sources, targets, 4, save=tmp_path / "found.npz")
    assert searched == [100]
    assert (resumed.rows == whole.rows).all() and (resumed.cosines == whole.cosines).all()


def test_margin_by_hand():
    # Cosines: x0 to y0, y1 = 0.8, 0.6; x1 to y0, y1 = 0.1, 0.4. Means: x 0.7, 0.25; y 0.45, 0.5.
    forward = Neighbours(np.array([[0.8, 0.6], [0.4, 0.1]]), np.array([[0, 1], [1, 0]]))
    backward = Neighbours(np.array([[0.8, 0.1], [0.6, 0.4]]), np.array([[0, 1], [0, 1]]))
    sources, targets = best_candidates(forward, backward)
    assert sources.target.tolist() == [0, 1] and targets.source.tolist() == [0, 1]
    np.testing.assert_allclose(sources.margin, [0.8 / 0.575, 0.4 / 0.375])
    np.testing.assert_allclose(targets.margin, sources.margin)


def test_a_hub_wins_by_cosine_and_loses_by_margin():
    # y1 is near to all sources; y0 is a little farther from x0 but near to nothing else.
    cosines = np.array([[0.80, 0.82], [0.10, 0.85], [0.10, 0.84]])
    order = np.argsort(-cosines, 1)
    forward = Neighbours(np.take_along_axis(cosines, order, 1), order)
    order = np.argsort(-cosines.T, 1)
    backward = Neighbours(np.take_along_axis(cosines.T, order, 1), order)
    sources, _ = best_candidates(forward, backward)
    assert cosines[0].argmax() == 1 and sources.target[0] == 0


@pytest.mark.parametrize("selection", ["mutual", "max"])
def test_every_known_pair_is_found_and_each_sentence_used_once(selection):
    sources, targets, to = noisy_copies()
    candidates, reasons = select_pairs(*proposals(sources, targets), 1.06, selection)
    taken = pairs_of(candidates, reasons)
    assert taken == {(row, int(target)) for row, target in enumerate(to)}


def test_sentences_without_a_translation_stay_alone():
    sources, targets, to = noisy_copies()
    has_none = set(range(150, 300))
    targets = np.delete(targets, to[sorted(has_none)], axis=0)
    candidates, reasons = select_pairs(*proposals(sources, targets), 1.2)
    taken = {source for source, _ in pairs_of(candidates, reasons)}
    assert taken == set(range(300)) - has_none


def test_max_takes_all_that_mutual_takes_and_uses_no_sentence_twice():
    sources, targets, _ = noisy_copies(noise=1.5)
    both = proposals(sources, targets)
    mutual, union = (pairs_of(*select_pairs(*both, 0.0, selection)) for selection in ("mutual", "max"))
    assert mutual < union
    for side in zip(*union, strict=True):
        assert len(set(side)) == len(side)


def test_no_candidate_disappears():
    sources, targets, _ = noisy_copies(noise=1.5)
    forward, backward = proposals(sources, targets)
    candidates, reasons = select_pairs(forward, backward, 1.1)
    proposed = {pair for side in (forward, backward) for pair in zip(*map(np.ndarray.tolist, side[:2]), strict=True)}
    every = [pairs_of(candidates, reasons, reason) for reason in REASONS]
    assert sum(map(len, every)) == len(candidates.source) == len(proposed)
    assert set().union(*every) == proposed
    below = candidates.margin < 1.1
    assert (reasons[below] == REASONS.index("below the threshold")).all() and not (reasons[~below] == 1).any()


def test_texts_that_are_equal_or_of_an_odd_length_are_rejected():
    rows = np.arange(4, dtype=np.int32)
    both = Candidates(rows, rows, np.full(4, 0.9, np.float32), np.array([1.5, 1.4, 1.3, 1.2], np.float32))
    # Targets are twice as long as sources here; the third is seven times as long, the fourth a copy.
    pools = Pool(np.array([1, 2, 3, 4]), np.full(4, 10)), Pool(np.array([5, 6, 7, 4]), np.array([20, 20, 70, 20]))
    candidates, reasons = select_pairs(both, both, 1.06, pools=pools, max_length_ratio=3)
    assert candidates.source.tolist() == [0, 1, 2, 3]
    assert [REASONS[reason] for reason in reasons] == ["taken", "taken", "length", "same text"]


def test_candidates_come_from_the_same_document():
    sources, targets, to = noisy_copies(100)
    means = nearest_neighbours(sources, targets, 4).mean(), nearest_neighbours(targets, sources, 4).mean()
    # Even sources are in document 1, odd ones in 2; targets lie with their sources, except those of the first ten.
    documents = np.arange(100) % 2 + 1
    of_targets = np.zeros(100, int)
    of_targets[to] = documents
    of_targets[to[:10]] = 3 - of_targets[to[:10]]
    members = []
    for ids in (documents, of_targets):
        order = np.argsort(ids, kind="stable")
        members.append(Members(ids[order], order.astype(np.int32)))
    forward, backward = document_candidates((sources, targets), tuple(members), means)
    for side in (forward, backward):
        assert (documents[side.source] == of_targets[side.target]).all()
    found = pairs_of(*select_pairs(forward, backward, 1.06))
    assert {(row, int(to[row])) for row in range(10, 100)} <= found
    assert not {(row, int(to[row])) for row in range(10)} & found


def test_one_document_for_all_gives_what_no_documents_give():
    sources, targets, _ = noisy_copies(noise=0.8)
    forward, backward = nearest_neighbours(sources, targets, 4), nearest_neighbours(targets, sources, 4)
    rows = np.arange(300, dtype=np.int32)
    one = Members(np.zeros(300, np.int64), rows)
    free = best_candidates(forward, backward)
    bound = document_candidates((sources, targets), (one, one), (forward.mean(), backward.mean()))
    # The best by margin may be no near neighbour, so the document's best is as good or better.
    for a, b in zip(free, bound, strict=True):
        assert (b.margin >= a.margin - 1e-5).all()
    assert np.mean(free[0].target == bound[0].target) > 0.9


def test_a_document_in_several_parts_gives_the_same(monkeypatch):
    sources, targets, _ = noisy_copies(100)
    means = (np.full(100, 0.5, np.float32),) * 2
    one = Members(np.zeros(100, np.int64), np.arange(100, dtype=np.int32))
    whole = document_candidates((sources, targets), (one, one), means)
    monkeypatch.setattr("xling_align.trainers.adaptive.mining.CHUNK", 700)
    parts = document_candidates((sources, targets), (one, one), means)
    for a, b in zip(whole, parts, strict=True):
        assert (a.source == b.source).all() and (a.target == b.target).all()
