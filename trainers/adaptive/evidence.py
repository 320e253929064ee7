"""Which pairs are wrong, told before any training from the pairs themselves: by words that go together and by length.

Ours. A model that has learned nothing yet can't tell, and most of the harm is done by then. What wrong pairs look like
is known without labels: sources re-paired at random with targets of their language pair.
"""

import numpy as np

from ..data.tokenized import TokenizedPairs

KEPT_FROM = 1.0  # log-odds: a wrong pair harms more than a right one that is left out would help
MOST_WORDS = 24  # of a text: its rarest ones, which say most
PART = 20_000  # pairs of a language pair that are counted together: their combinations take about a gigabyte
FEWEST = 1_000  # pairs: fewer say too little of each other, and most right ones of a noisy set would go
SMOOTHING = 2.0  # pairs' worth of chance in every word's partners
LIMIT = 6.0  # log-odds that either kind of evidence can give
REPAIRED = 5_000  # pairs at random, to know wrong ones by
ROUNDS = 50  # of expectation maximisation


def pair_evidence(pairs: TokenizedPairs, seed: int = 0) -> np.ndarray:
    """Log-odds that each pair is a translation and not two texts of its corpus at random.

    Args:
        pairs: Token ids; a text's first and last token are special ones.
        seed: Of the random re-pairing.

    Returns:
        Log-odds (pairs,) by the words' and the lengths' evidence together and the share of wrong pairs in the
        language pair; infinite in one of fewer than 1,000 distinct pairs, which say too little about each other.
    """
    generator, evidence = np.random.default_rng(seed), np.full(len(pairs), np.inf)
    for group in np.unique(pairs.groups):
        members = np.flatnonzero(pairs.groups == group)
        firsts, places = distinct(pairs, members)
        for part in np.array_split(generator.permutation(firsts), -(-len(firsts) // PART)):
            if len(part) >= FEWEST:
                odds = word_evidence(pairs, part, generator) + length_evidence(pairs, part, generator)
                evidence[part] = odds + prior_odds(odds)
        evidence[members] = evidence[firsts[places]]
    return evidence


def distinct(pairs: TokenizedPairs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once: its copies would speak for it.

    Args:
        pairs: Token ids.
        rows: Numbers of pairs (rows,).

    Returns:
        Numbers of the pairs of which no row before holds the same texts (distinct,), and the place of each row's pair
        among them (rows,).
    """
    seen: dict[tuple[bytes, bytes], int] = {}
    texts = ((pairs.text(2 * row).tobytes(), pairs.text(2 * row + 1).tobytes()) for row in rows)
    places = np.array([seen.setdefault(text, len(seen)) for text in texts])
    return rows[np.unique(places, return_index=True)[1]], places


def length_evidence(pairs: TokenizedPairs, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Log-odds (rows,) by the ratio of the sides' lengths, whose logarithm varies with 1/a + 1/b."""
    one, other = np.maximum(np.diff(pairs.ends, prepend=0).reshape(-1, 2)[rows] - 2, 1).T.astype(float)
    usual = np.median(np.log(other / one))

    def surprise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (np.log(b / a) - usual) * np.sqrt(2 * a * b / (a + b))

    first, second = generator.integers(0, len(rows), (2, REPAIRED))
    return log_odds(surprise(one, other), surprise(one[first], other[second]))


def word_evidence(pairs: TokenizedPairs, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Log-odds (rows,) by how much likelier each word is in translations of its best partner than elsewhere.

    Of two words that occur in n_s and n_t of n pairs, together in c, that is log((c + a p) / (n_s + a) / p) with
    p = n_t / n; a pair is left out of the counts that it is judged by. A pair's score is the mean over its words.
    """
    sides = [Words.of(pairs, 2 * rows + side) for side in (0, 1)]
    together = Combinations(*sides)
    known, place, counts = np.unique(together.keys, return_inverse=True, return_counts=True)
    scores = together.scores(counts[place] - 1, 1)
    apart = Combinations(*(side.at(generator.integers(0, len(rows), REPAIRED)) for side in sides))
    found = np.minimum(np.searchsorted(known, apart.keys), len(known) - 1)
    wrong = apart.scores(np.where(known[found] == apart.keys, counts[found], 0), 0)
    return log_odds(scores, wrong, rising=True)


class Words:
    """The distinct words of N texts, one text after another, special tokens left out.

    Args:
        words: Ids (words,).
        counts: Words of each text (N,).
        frequency: By id, how many of all texts a word is in.
        total: All texts, of which these may be some.
    """

    def __init__(self, words: np.ndarray, counts: np.ndarray, frequency: np.ndarray, total: int):
        self.words, self.counts, self.frequency, self.total = words, counts, frequency, total
        self.starts = np.cumsum(counts) - counts

    @classmethod
    def of(cls, pairs: TokenizedPairs, texts: np.ndarray) -> "Words":
        """The rarest words of each text; one that has none is taken for the word 0."""
        found = [words if len(words := pairs.words(row)) else np.zeros(1, int) for row in texts]
        frequency = np.bincount(np.concatenate(found))
        rarest = [words[np.argsort(frequency[words], kind="stable")[:MOST_WORDS]] for words in found]
        return cls(np.concatenate(rarest), np.array([len(words) for words in rarest]), frequency, len(texts))

    def at(self, texts: np.ndarray) -> "Words":
        """Those of some of the texts."""
        counts = self.counts[texts]
        return Words(self.words[spans(self.starts[texts], counts)], counts, self.frequency, self.total)


def spans(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Numbers from each start on, as many as its count.

    >>> spans(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


class Combinations:
    """Every word of each text with every word of its partner, source word by source word.

    Args:
        source: Words of N texts.
        target: Words of their partners.
    """

    def __init__(self, source: Words, target: Words):
        self.source, self.target = source, target
        self.partners = np.repeat(target.counts, source.counts)  # of each source word
        own = np.repeat(source.words, self.partners).astype(np.int64)
        others = target.words[spans(np.repeat(target.starts, source.counts), self.partners)]
        self.keys = own * len(target.frequency) + others
        self.own, self.others = own, others

    def scores(self, together: np.ndarray, own: int) -> np.ndarray:
        """Mean over each pair's words of the best partner's log-ratio, both ways.

        Args:
            together: In how many pairs each combination occurs.
            own: 1 if the pairs themselves are among those that were counted, and were taken out.

        Returns:
            Scores (N,).
        """
        source, target = self.source, self.target
        share = target.frequency[self.others] / target.total
        ratio = (together + SMOOTHING * share) / (source.frequency[self.own] - own + SMOOTHING) / share
        values = np.log(ratio).astype(np.float32)
        best = np.maximum.reduceat(values, np.cumsum(self.partners) - self.partners)
        forward = np.add.reduceat(best, source.starts) / source.counts
        best = np.maximum.reduceat(values[self.by_target()], self.starts_by_target())
        return (forward + np.add.reduceat(best, target.starts) / target.counts) / 2

    def by_target(self) -> np.ndarray:
        """Places of the combinations, target word by target word."""
        source, target = self.source, self.target
        sizes = source.counts * target.counts
        first = np.repeat(np.cumsum(sizes) - sizes, target.counts) + spans(np.zeros_like(target.counts), target.counts)
        rows, widths = np.repeat(source.counts, target.counts), np.repeat(target.counts, target.counts)
        return np.repeat(first, rows) + spans(np.zeros_like(rows), rows) * np.repeat(widths, rows)

    def starts_by_target(self) -> np.ndarray:
        """Where each target word's combinations start in that order."""
        rows = np.repeat(self.source.counts, self.target.counts)
        return np.cumsum(rows) - rows


def prior_odds(odds: np.ndarray) -> float:
    """Log-odds of a pair before it is looked at: by the share of right pairs that makes all the evidence likeliest.

    Args:
        odds: Logarithm of the two densities' ratio of each pair (pairs,).

    Returns:
        Log-odds; where nothing is wrong they are high, and a pair is kept that little speaks for.
    """
    share = 0.5
    for _ in range(ROUNDS):
        share = np.clip(np.mean(1 / (1 + np.exp(-odds) * (1 - share) / share)), 0.01, 0.999)
    return float(np.log(share / (1 - share)))


def log_odds(values: np.ndarray, wrong: np.ndarray, rising: bool = False) -> np.ndarray:
    """Log-odds of being right: two normal distributions, that of wrong pairs known, that of right ones found by EM.

    Args:
        values: Of pairs of either kind (pairs,).
        wrong: Of wrong pairs (wrong pairs,).
        rising: Whether a higher value always speaks for a pair, also beyond the two means.

    Returns:
        Logarithms of the two densities' ratio (pairs,), from -6 to 6; 0 where all values are alike.
    """
    if not values.std() or not wrong.std():
        return np.zeros(len(values))
    values = np.clip(values, *np.quantile(values, [0.001, 0.999]))
    below = normal(values, wrong.mean(), wrong.std())
    mean, deviation, share = np.median(values), 1.4826 * np.median(np.abs(values - np.median(values))), 0.7
    for _ in range(ROUNDS):
        deviation = max(deviation, 1e-3 * wrong.std())
        above = normal(values, mean, deviation)
        right = 1 / (1 + np.exp(np.clip(below - above, -50, 50)) * (1 - share) / share)
        share = np.clip(right.mean(), 0.01, 0.99)
        mean = np.average(values, weights=right)
        deviation = np.sqrt(np.average((values - mean) ** 2, weights=right))
    if rising and deviation != wrong.std():  # the narrower density falls faster: beyond its turn the ratio goes back
        one, other = deviation**2, wrong.std() ** 2
        turn = (mean * other - wrong.mean() * one) / (other - one)
        values = np.minimum(values, turn) if one < other else np.maximum(values, turn)
    odds = normal(values, mean, deviation) - normal(values, wrong.mean(), wrong.std())
    return np.clip(odds, -LIMIT, LIMIT)


def normal(values: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Log-density of a normal distribution, less a constant."""
    return -((values - mean) ** 2) / (2 * deviation**2) - np.log(deviation)
