"""How many titles a second are encoded, and does a second run encode none?

Encodes the titles of Beauty's items (12,101) with an empty cache, then again with the one just written, and as many
that are all alike. Bars: 200 titles/s in the precision that is measured to be faster, loading of the model left out;
0 texts in the second run. Without the Beauty file, titles drawn from a list of words take its place.

    python benchmarks/text_speed.py --items ../shared/data/beauty/items.parquet --titles 3000
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import calibration as c


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--items", type=Path, default=Path("../shared/data/beauty/items.parquet"))
    parser.add_argument("--encoder", default="minilm", help="name, folder, hub name or file of word vectors")
    parser.add_argument("--titles", type=int, default=3_000, help="so many, from the first on")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Load, first run, second run, equal texts."""
    import os

    from temporec.data.text_encoder import open_text_encoder
    from temporec.runtime import RunOptions

    titles, source = titles_of(args.items, args.titles)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TEMPOREC_CACHE"] = folder
        encoder = open_text_encoder(args.encoder)
        loading = seconds(lambda: encoder.encode(["a text that loads the model"]))
        c.note(f"encoding {len(titles)} titles")
        before = encoder.encoded
        first = seconds(lambda: encoder.encode(titles))
        encoded = encoder.encoded - before
        again = open_text_encoder(args.encoder)
        second = seconds(lambda: again.encode(titles))
        equal = seconds(lambda: encoder.encode(["one title of all"] * 100_000))
    figures = {
        "encoder": encoder.identity,
        "precision": RunOptions().resolve_precision(),
        "titles": {"source": source, "count": len(titles), "different": encoded},
        "loading_seconds": loading,
        "titles_per_second": encoded / first,
        "second_run": {"seconds": second, "encoded": again.encoded, "cached": again.cached},
        "seconds_of_100_000_equal_texts": equal,
    }
    return figures, [
        c.bar("titles/s", encoded / first, 200.0, least=True),
        c.bar("texts encoded by the second run", float(again.encoded), 0.0),
    ]


def titles_of(path: Path, count: int) -> tuple[list[str], str]:
    """Titles, and where they come from."""
    import numpy as np
    import polars as pl

    if path.exists():
        return pl.read_parquet(path)["title"].fill_null("").head(count).to_list(), str(path)
    words = np.array(
        ["red", "blue", "small", "large", "soft", "nail", "polish", "cream", "lamp", "chair", "for", "women"]
    )
    drawn = np.random.default_rng(0).integers(0, len(words), (count, 10))
    return [" ".join(row) for row in words[drawn]], "drawn from a list of words"


def seconds(call: Any) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
