"""Are items found that nobody has bought yet, and what does that cost the others?

For each draw, 5 % of the items lose all their events: in training, in validation, and in the histories of the test. The
model is fitted without them (leave-last-out), places them by their texts, and ranks all items. Two figures: Recall@10
of the test events on these items, and the change of NDCG@10 of the other test events against the same model with the
new items left out of the ranking (paired bootstrap over all draws). Bars: 0.090, and a fall of at most 2 %.

    python benchmarks/cold_items.py --draws 5 --set text.encoder=tfidf,minilm
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import calibration as c
import numpy as np


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--log", type=Path, default=Path("../shared/data/beauty/interactions.parquet"))
    parser.add_argument("--items", type=Path, help="items table (default: items.parquet beside the log)")
    parser.add_argument("--model", default="gru")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.05, help="of the items that become new")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="options of the model")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """All draws, then their means with intervals."""
    from temporec.metrics.intervals import bootstrap_mean, paired_difference
    from temporec.workflow import load
    from temporec.workflow.experiment import ProtocolConfig, make_split

    data = load(args.log, args.items or args.log.with_name("items.parquet")).dataset
    parts, _ = make_split(data, ProtocolConfig(protocol="leave-last-out", seen="exclude"))
    draws = [one(parts, args, draw) for draw in range(args.draws)]
    found, without, together = (np.concatenate([each[i] for each in draws]) for i in range(3))
    recall, change = bootstrap_mean(found), paired_difference(together, without)
    fall = -change.mean / without.mean()
    figures = {
        "recall@10 of new items": {"mean": recall.mean, "low": recall.low, "high": recall.high, "cases": len(found)},
        "ndcg@10 of known items": {
            "without new items": without.mean(),
            "with them": together.mean(),
            "change": {"mean": change.mean, "low": change.low, "high": change.high},
            "fall": fall,
        },
        "draws": [{"recall@10": f.mean(), "fall": 1 - t.mean() / w.mean(), **facts} for f, w, t, facts in draws],
    }
    return figures, [
        c.bar("recall@10 of new items", recall.mean, 0.09, least=True),
        c.bar("fall of known items' NDCG@10", fall, 0.02),
    ]


def one(parts: Any, args: Any, draw: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Hits of new items; NDCG@10 of known ones without and with the new items in the ranking."""
    from temporec.config import parse_overrides
    from temporec.data.dataset import Dataset
    from temporec.recommend.fitting import fit_recommender
    from temporec.recommend.validation import hide_seen
    from temporec.runtime import RunOptions
    from temporec.workflow.presets import fit_config

    train, size = parts.train, parts.train.catalog.size
    chosen = np.random.default_rng(draw).choice(np.arange(1, size), round(args.share * (size - 1)), replace=False)
    new = np.isin(np.arange(size), chosen)
    log = train.interactions.take(~new[train.interactions.item])
    valid, test = (without_items(cases, new) for cases in (parts.valid, parts.test))
    valid = valid.rows(np.flatnonzero(~new[valid.targets]))
    config = fit_config(args.model, None, parse_overrides(args.set), log)
    fitted = fit_recommender(Dataset(log, train.catalog, train.described), config, RunOptions(seed=draw), valid)
    ndcg: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for rows, scores in fitted.recommender.chunks(test.histories):
        part = test.rows(rows)
        hide_seen(scores, part.histories)
        for shown in (True, False):
            given = scores if shown else scores.masked_fill(torch_mask(new), float("-inf"))
            own = given.numpy()[np.arange(len(rows)), part.targets][:, None]
            rank = (given.numpy() >= own).sum(axis=1)
            ndcg[shown].append(np.where(rank <= 10, 1 / np.log2(rank + 1.0), 0.0))
    together, without = np.concatenate(ndcg[True]), np.concatenate(ndcg[False])
    is_new = new[test.targets]
    cold = fitted.recommender.cold
    facts = {
        "fade": fitted.fade,
        "epochs": fitted.epochs,
        "seconds": fitted.seconds,
        "offset": None if cold is None else cold.offset,
    }
    c.note(f"draw {draw}: recall@10 {(together[is_new] > 0).mean():.4f}, {facts}")
    return (together[is_new] > 0).astype(float), without[~is_new], together[~is_new], facts


def without_items(cases: Any, new: np.ndarray) -> Any:
    """The same cases with some items taken out of their histories; a case without any history left is dropped."""
    h = cases.histories
    kept = ~new[h.items]
    ends = np.concatenate([[0], np.cumsum(kept)])
    histories = replace(h, items=h.items[kept], times=h.times[kept], offsets=ends[h.offsets])
    made = replace(cases, histories=histories)
    return made.rows(np.flatnonzero(histories.lengths > 0))


def torch_mask(new: np.ndarray) -> Any:
    """The same as a tensor [1, V + 1]."""
    import torch

    return torch.from_numpy(new)[None, :]


if __name__ == "__main__":
    main()
