"""Is one way of fitting better than another, beyond chance?

Both ways are fitted with every seed and asked the same test cases; a case's NDCG@10 is the mean over the seeds, and the
difference is bootstrapped over the cases. Without `--log` on the Online Retail sheet of the package. Texts against ids,
and a start from another shop's model against one from nothing:

    python benchmarks/variants.py --first text.encoder=none --second text.encoder=tfidf,minilm
    temporec fit ../shared/data/beauty/interactions.parquet --items ../shared/data/beauty/items.parquet --out beauty
    python benchmarks/variants.py --share 0.1 --protocol leave-last-out --model beauty --second start_from=beauty
"""

from pathlib import Path
from typing import Any

import calibration as c
import numpy as np
import polars as pl


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--log", type=Path, help="default: Online Retail")
    parser.add_argument("--items", type=Path, help="items table of the log")
    parser.add_argument("--share", type=float, default=1.0, help="of the users, drawn with seed 0")
    parser.add_argument("--protocol", default="global-time", help="or leave-last-out")
    parser.add_argument("--model", default="gru", help="preset, or folder of a model whose settings are taken")
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    for way in ("first", "second"):
        parser.add_argument(f"--{way}", nargs="*", default=[], metavar="A.B=C", help=f"options of the {way} way")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Both ways, and their difference."""
    from temporec.metrics.intervals import paired_difference
    from temporec.workflow.experiment import ProtocolConfig, make_split

    data = dataset(args)
    parts = make_split(data, ProtocolConfig(protocol=args.protocol))
    seeds = [int(seed) for seed in args.seeds.split(",")]
    figures, cases = {}, {}
    for way in ("first", "second"):
        runs = [one(parts, args, getattr(args, way), seed) for seed in seeds]
        cases[way] = np.mean([values["ndcg@10"] for values, _, _ in runs], axis=0)
        figures[way] = {
            **{name: float(np.mean([run[0][name].mean() for run in runs])) for name in runs[0][0]},
            "epochs": [epochs for _, epochs, _ in runs],
            "seconds": [seconds for _, _, seconds in runs],
        }
    gap = paired_difference(cases["second"], cases["first"])
    log = data.interactions
    return {
        "users": len(log.users), "items": len(data.catalog), "events": len(log), "cases": gap.n, **figures,
        "second - first, ndcg@10": {"mean": gap.mean, "low": gap.low, "high": gap.high, "p": gap.p},
    }, []  # fmt: skip


def dataset(args: Any) -> Any:
    """The log of some users, cleaned."""
    from temporec.data.clean import CleanConfig
    from temporec.data.columns import find_column
    from temporec.data.samples import SERVICE_CODES, online_retail, online_retail_items
    from temporec.workflow import load
    from temporec.workflow.load import LoadConfig

    log = online_retail() if args.log is None else pl.read_parquet(args.log)
    items = online_retail_items(log) if args.log is None else args.items
    codes = CleanConfig(drop_items=SERVICE_CODES) if args.log is None else CleanConfig()
    if args.share < 1.0:
        column = find_column("user", log, None)
        users = log[column].drop_nulls().unique().sort()
        log = log.filter(pl.col(column).is_in(users.sample(fraction=args.share, seed=0).implode()))
    return load(log, items, LoadConfig(clean=codes)).dataset


def one(parts: Any, args: Any, options: list[str], seed: int) -> tuple[dict[str, np.ndarray], int, float]:
    """NDCG@10 and HR@10 of every test case, epochs and seconds of one fit."""
    from temporec.config import parse_overrides
    from temporec.runtime import RunOptions
    from temporec.workflow.experiment import try_model
    from temporec.workflow.presets import fit_config, override, saved_config

    if Path(args.model).is_dir():
        config = override(saved_config(args.model), parse_overrides(options))
    else:
        config = fit_config(args.model, None, parse_overrides(options), parts[0].train.interactions)
    trial = try_model(args.model, parts, config, RunOptions(seed=seed))
    values = {name: trial.result.values[name][trial.result.headline] for name in ("ndcg@10", "hit_rate@10")}
    c.note(f"{' '.join(options) or 'preset'}, seed {seed}: NDCG@10 {values['ndcg@10'].mean():.4f}")
    return values, trial.fitted.epochs, trial.fit_seconds


if __name__ == "__main__":
    main()
