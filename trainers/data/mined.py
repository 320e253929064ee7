"""Mined pairs on disk: Parquet that `read_pairs` takes, with the rejected candidates and the provenance beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from xling_align.eval.metrics.mining import Candidates

from ..adaptive.mining import REASONS, TAKEN
from .pairs import pair_id_of
from .sentences import Sentences

ROWS_PER_GROUP = 10_000


class MinedPairs:
    """What a mining run found.

    Args:
        pools: Sources and targets.
        languages: Their codes.
        candidates: All candidates by falling margin.
        reasons: What became of each, a number in `REASONS` (candidates,).
        provenance: Where they come from, besides what the pools say.
        figures: More real numbers for each candidate, by column (candidates,).
    """

    def __init__(
        self,
        pools: tuple[Sentences, Sentences],
        languages: tuple[str, str],
        candidates: Candidates,
        reasons: np.ndarray,
        provenance: dict[str, Any],
        figures: dict[str, np.ndarray] | None = None,
    ):
        self.pools, self.languages, self.candidates, self.reasons = pools, languages, candidates, reasons
        self.figures = figures or {}
        counts = np.bincount(reasons, minlength=len(REASONS)).tolist()
        found = {"pairs": counts[TAKEN], "rejected": dict(zip(REASONS[1:], counts[1:], strict=True))}
        self.provenance = {"source": pools[0].summary, "target": pools[1].summary, **provenance, **found}

    def write(self, output: Path, rejected: int) -> dict[str, Any]:
        """Write `output`, and beside it `.rejected.parquet` and `.json`; the pairs come last.

        Nothing in the files depends on when they were made, or on how often the run was stopped.

        Args:
            output: Parquet file.
            rejected: How many rejected candidates to keep for each reason.

        Returns:
            The provenance.
        """
        generator = np.random.default_rng(0)
        kept = []
        for reason in range(len(REASONS)):
            rows = np.flatnonzero(self.reasons == reason)
            if reason != TAKEN:
                kept.append(rows if len(rows) <= rejected else generator.choice(rows, rejected, replace=False))
        self._write_rows(output.with_suffix(".rejected.parquet"), np.sort(np.concatenate(kept)), with_reason=True)
        text = json.dumps(self.provenance, indent=2, ensure_ascii=False)
        output.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        self._write_rows(output, np.flatnonzero(self.reasons == TAKEN), with_reason=False)
        return self.provenance

    def _write_rows(self, path: Path, rows: np.ndarray, with_reason: bool) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        text, number, real = pa.string(), pa.int64(), pa.float32()
        kinds = {"source": text, "target": text, "source_language": text, "target_language": text}
        kinds |= {"pair_id": number, "score": real, "margin": real, "cosine": real}
        kinds |= {"source_line": number, "target_line": number} | ({"reason": text} if with_reason else {})
        kinds |= dict.fromkeys(self.figures, real)
        schema = pa.schema(kinds, metadata={"xling_mining": json.dumps(self.provenance, ensure_ascii=False)})
        partial = path.with_suffix(".partial")
        with pq.ParquetWriter(partial, schema) as writer:
            for start in range(0, len(rows), ROWS_PER_GROUP):
                records = [self._record(row) for row in rows[start : start + ROWS_PER_GROUP]]
                writer.write_table(pa.Table.from_pylist(records, schema))  # leaves `reason` out where it has no column
        partial.replace(path)

    def _record(self, row: int) -> dict[str, Any]:
        sources, targets = self.pools
        source, target = self.candidates.source[row], self.candidates.target[row]
        margin = float(self.candidates.margin[row])
        return {
            "source": sources[source],
            "target": targets[target],
            "source_language": self.languages[0],
            "target_language": self.languages[1],
            "pair_id": pair_id_of(sources[source], self.languages[0]),
            "score": margin,
            "margin": margin,
            "cosine": float(self.candidates.cosine[row]),
            "source_line": int(sources.lines[source]),
            "target_line": int(targets.lines[target]),
            "reason": REASONS[self.reasons[row]],
            **{name: float(values[row]) for name, values in self.figures.items()},
        }
