"""Arguments of fine-tuning: how it trains, and on what."""

import logging
from dataclasses import dataclass
from typing import Any

from xling_align.modeling_xling import InputError

from .align import pair_stream
from .arguments import CommonTrainingArguments, DataArguments, check_at_least, check_choice
from .data.labelled import ROLES, read_labelled
from .data.readers import ReadReport
from .facts import corpora_of
from .selection import SELECTIONS

logger = logging.getLogger("xling_align")


@dataclass
class FineTuneArguments(CommonTrainingArguments):
    """The defaults that fine-tuning a small encoder needs; there are no checkpoints on disk.

    Attributes:
        select: Which weights come out: best for those of the epoch with the best dev score (without dev rows, the last
            epoch's), average for the mean over the ends of all epochs, last.
        freeze_embeddings: Keep the word embeddings as they are.
        lora_rank: Train low-rank adapters of this rank in the encoder's linear layers instead of the encoder, and fold
            them in afterwards; 0 trains the encoder.
        alignment_weight: What the alignment of translation pairs counts beside the task; 0 for no pairs.
        alignment_tau: Temperature of its InfoNCE.
    """

    output_dir: str = "outputs/finetune"
    learning_rate: float = 5e-5
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 128
    warmup_steps: float = 0.1
    logging_strategy: str = "epoch"  # pyright: ignore[reportIncompatibleVariableOverride]
    save_strategy: str = "no"  # pyright: ignore[reportIncompatibleVariableOverride]
    train_sampling_strategy: str = "group_by_length"
    select: str = "best"
    freeze_embeddings: bool = False
    lora_rank: int = 0
    alignment_weight: float = 0.0
    alignment_tau: float = 0.05

    def __post_init__(self):
        check_choice("select", self.select, SELECTIONS)
        check_at_least(0, lora_rank=self.lora_rank, alignment_weight=self.alignment_weight)
        check_at_least(1e-4, alignment_tau=self.alignment_tau)
        if self.max_steps < 1:
            check_at_least(0.01, num_train_epochs=self.num_train_epochs)
        for name, only in (("save_strategy", "no"), ("eval_strategy", "no"), ("logging_strategy", "epoch")):
            if str(getattr(getattr(self, name), "value", getattr(self, name))) != only:
                raise InputError(f"--{name} can only be {only}: fine-tuning logs, and with dev rows chooses, by epoch")
        super().__post_init__()


@dataclass
class TaskArguments:
    """What is fine-tuned, and on what.

    Attributes:
        model: Folder or Hub id of an aligned model or of a plain encoder.
        train_file: Labelled rows: TSV with a header, JSONL, Parquet, or for words CoNLL.
        dev_file: More of them, in the same language, to choose the epoch by.
        task: `sequence` for texts, `pair` for pairs of texts, `token` for words.
        columns: Columns as part=column, such as text=sentence1 text_pair=sentence2.
        language: Code of the rows' language, unless a column says it; also of the pairs' source side.
        pooling: Where a plain encoder's sentence vector comes from, `cls` or `mean`.
        seeds: Train so many times, from `--seed` on, each into a folder of its own; those that are there are kept.
        alignment_file: Files or folders of translation pairs, parallel or mined, to stay aligned on.
        data_dir: A folder with `parallel/<corpus>/<xx>-en.tsv[.gz]`, instead or besides.
        corpora: Which corpora of `data_dir`; all unless given.
        target_language: Code of the pairs' target side, for files that don't name it.
        languages: Codes of the pairs' target languages; all unless given.
        max_pairs: Read at most so many pairs.
    """

    model: str | None = None
    train_file: str | None = None
    dev_file: str | None = None
    task: str = "sequence"
    columns: list[str] | None = None
    language: str = "en"
    pooling: str = "cls"
    seeds: int = 1
    alignment_file: list[str] | None = None
    data_dir: str | None = None
    corpora: list[str] | None = None
    target_language: str | None = None
    languages: list[str] | None = None
    max_pairs: int | None = None

    def __post_init__(self):
        check_choice("task", self.task, tuple(ROLES))
        check_at_least(1, seeds=self.seeds, max_pairs=self.max_pairs)

    def rows(self, path: str, language: str | None = None) -> list[dict]:
        """Read a file's labelled rows.

        Args:
            path: The file.
            language: Of all rows; that of `columns`, or else `language`, unless given.

        Returns:
            The rows.

        Raises:
            InputError: `columns` or the file can't be used.
        """
        columns = {}
        for given in self.columns or []:
            part, _, column = given.partition("=")
            if not column:
                raise InputError(f"--columns {given!r} must be part=column, such as label=category")
            columns[part] = column
        if language:
            columns.pop("language", None)
        return read_labelled(path, self.task, columns, language or self.language)

    def pairs(self) -> tuple[list[dict] | None, dict[str, Any]]:
        """Read the translation pairs, with their number by corpus; None without any."""
        if not self.alignment_file and not self.data_dir:
            return None, {}
        data = DataArguments(
            train_file=self.alignment_file,
            data_dir=self.data_dir,
            corpora=self.corpora,
            languages=self.languages,
            target_language=self.target_language,
            source_language=self.language,
            max_pairs=self.max_pairs,
        )
        report = ReadReport()
        pairs = list(pair_stream(data, report))
        logger.info(report)
        return pairs, corpora_of(data, report)
