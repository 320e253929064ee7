"""Arguments of what follows the training: pair weights, temperature, regulariser, negatives, resource levels."""

from dataclasses import dataclass

from xling_align.modeling_xling import InputError

from ..checks import check_at_least, check_choice, check_share

PAIR_WEIGHTS = ("fixed", "adaptive", "scores")
TEMPERATURES = ("fixed", "learnable", "cosine", "macl", "dynamic")


@dataclass
class AdaptiveArguments:
    """Each part is off unless its first argument turns it on.

    Attributes:
        pair_weights: How much each pair counts: fixed for all alike; adaptive by its margin among the batch's
            neighbours; scores by the column `score` of the data. See `PairConfidence`.
        pair_evidence: Leave out, before training, pairs that are translations with odds of less than e to 1, by which
            words go together in the other pairs and by length. See `pair_evidence`.
        weight_warmup: Share of the training in which all pairs count alike.
        weight_caution: Of adaptive: what is added to the log-odds of a pair being wrong; with 1, a pair that is as
            likely right as wrong has a weight of 0.27.
        weight_z: Of scores: where the threshold ends, in deviations from a language pair's mean.
        weight_width: Of scores: width of the step from 0 to 1 at the threshold, in deviations.
        rince_q: Of rince: 0 is InfoNCE, 1 the most robust.
        rince_lambda: Of rince: weight of its density term, times the number of keys. Where it is above 1 the loss
            falls by pushing all texts apart, and nothing is learned.
        rince_warmup: Share of the training in which rince is InfoNCE.
        temperature: fixed at `tau`; learnable from there; cosine from `tau_max` to `tau_min`; macl or dynamic, which
            follow how well the batches are aligned. See `Temperature`.
        tau_min: Least temperature of learnable, cosine and dynamic.
        tau_max: Greatest.
        tau_alpha: How strongly macl and dynamic follow.
        alignment_regulariser: Weight of the alignment regulariser at the start; 0 for none.
        alignment_gamma: How fast it fades.
        monolingual_share: Monolingual sentences that the queue takes in at each step, by share of the batch's pairs.
        hard_negatives: Momentum contrast against only so many of the hardest keys of the queue; 0 against all.
        hard_margin: Keys nearer to a query than this share of its translation's cosine are no hard negatives, since
            they may be translations as well.
        sampling_temperature: T of p ~ n^(1/T), the share of a language pair with n pairs in the batches; 1 for the
            pairs as they are, 5 as in much published work, towards infinity for all languages alike.
        few_pairs: Of adaptive and scores: a language with fewer pairs has them taken as they are, for they are too few
            to tell the bad ones.
    """

    pair_weights: str = "fixed"
    pair_evidence: bool = False
    weight_warmup: float = 0.05
    weight_caution: float = 1.0
    weight_z: float = -1.0
    weight_width: float = 0.25
    rince_q: float = 0.1
    rince_lambda: float = 0.5
    rince_warmup: float = 0.3
    temperature: str = "fixed"
    tau_min: float = 0.03
    tau_max: float = 0.1
    tau_alpha: float = 0.5
    alignment_regulariser: float = 0.0
    alignment_gamma: float = 1.0
    monolingual_share: float = 1.0
    hard_negatives: int = 0
    hard_margin: float = 0.95
    sampling_temperature: float = 1.0
    few_pairs: int = 100

    def check_adaptive(self, losses: list[str], inter_loss: str, tau: float) -> None:
        """Refuse values that no part can work with, or that nothing reads.

        Args:
            losses: What is trained.
            inter_loss: The sentence-level loss, which not every temperature goes with.
            tau: Its temperature at the start.

        Raises:
            InputError: One of them.
        """
        check_choice("pair_weights", self.pair_weights, PAIR_WEIGHTS)
        check_choice("temperature", self.temperature, TEMPERATURES)
        check_share(rince_q=self.rince_q, rince_lambda=self.rince_lambda, hard_margin=self.hard_margin)
        check_share(monolingual_share=self.monolingual_share)
        check_at_least(0, weight_warmup=self.weight_warmup, alignment_regulariser=self.alignment_regulariser)
        check_at_least(0, rince_warmup=self.rince_warmup, alignment_gamma=self.alignment_gamma)
        check_at_least(0, tau_alpha=self.tau_alpha, hard_negatives=self.hard_negatives, few_pairs=self.few_pairs)
        check_at_least(1, sampling_temperature=self.sampling_temperature)
        check_at_least(1e-3, weight_width=self.weight_width, tau_min=self.tau_min)
        check_at_least(self.tau_min, tau_max=self.tau_max)
        if self.hard_negatives and "momentum" not in losses:
            raise InputError("--hard_negatives are those of momentum contrast's queue; add momentum to --losses")
        if self.temperature != "fixed" and "inter" not in losses:
            raise InputError(f"--temperature {self.temperature} is that of the inter loss; add inter to --losses")
        if self.temperature != "fixed" and inter_loss == "paper":
            raise InputError(
                f"--temperature {self.temperature} has nothing to work on: --inter_loss paper is the published form "
                "without a temperature; take another loss, or leave it fixed"
            )
        if self.weight_warmup > 1:
            raise InputError(f"--weight_warmup is {self.weight_warmup}; it is a share of the training, at most 1")
        if not -5 <= self.weight_z <= 0:
            raise InputError(
                f"--weight_z is {self.weight_z}; it must be between -5 (keep nearly all) and 0 (drop half)"
            )
        if self.temperature == "learnable" and not self.tau_min <= tau <= self.tau_max:
            raise InputError(f"--tau {tau} is not between --tau_min {self.tau_min} and --tau_max {self.tau_max}")
        if self.temperature == "macl" and inter_loss not in ("infonce", "additive_margin"):
            raise InputError(
                f"--temperature macl reweights a softmax's queries and does not go with --inter_loss {inter_loss}; "
                "take infonce or additive_margin"
            )
