"""How soon can 1,000 new titles be recommended, encoding left out?

A model of Beauty is loaded, and 1,000 items come whose titles are words of its titles. They are encoded once before, so
that `add_items` finds their vectors in the cache. Bars: at most a second, all of them rankable, 200 titles/s.

    python benchmarks/add_items.py --encoder minilm
"""

import random
import time
from pathlib import Path
from typing import Any

import calibration as c
import served as s


def main() -> None:
    """Read the command line and print the document."""
    parser = s.options(__doc__)
    parser.add_argument("--encoder", default="tfidf", help="as in `--set text.encoder=...`")
    parser.add_argument("--count", type=int, default=1_000, help="new items")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Encode, add, rank."""
    import numpy as np
    import polars as pl

    from temporec.recommend.base import Recommender

    folder: Path = s.checkpoint(args, args.encoder)
    model: Any = Recommender.load(folder)
    frame = model.catalog.frame
    words = sorted({word for title in frame["title"].drop_nulls() for word in title.split()})
    draw = random.Random(1)
    titles = [" ".join(draw.sample(words, 8)) for _ in range(args.count)]
    new = pl.DataFrame({"item": [f"new-{n}" for n in range(args.count)], "title": titles})
    if frame["item"].dtype == pl.Int64:
        known = int(frame["item"].max())
        new = new.with_columns(item=pl.int_range(known + 1, known + 1 + args.count, dtype=pl.Int64))
    extended, size = model.catalog.extend(new), model.catalog.size
    began = time.perf_counter()
    model.inputs.vectors.transform_catalog(extended.restrict(np.arange(size, extended.size)))
    encoding = time.perf_counter() - began
    began = time.perf_counter()
    added = model.add_items(new)
    adding = time.perf_counter() - began
    answer = model.recommend(user=model.users.ids[0], k=args.count, candidates=new["item"].to_list())
    figures = {"encoding_seconds": encoding, "adding_seconds": adding, "added": added, "ranked": len(answer)}
    return figures, [
        c.bar("seconds to add them, encoded before", adding, 1.0),
        c.bar("of them ranked", len(answer), args.count, least=True),
        c.bar("titles encoded per second", args.count / encoding, 200.0, least=True),
    ]


if __name__ == "__main__":
    main()
