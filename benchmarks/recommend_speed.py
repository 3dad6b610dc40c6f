"""How fast is a recommendation for one user, and for all users at once?

Fits one epoch (speed does not depend on how well the model learned), then times `recommend(user=..., k=10)` and
`recommend(history=..., k=10)` one by one, and `recommend_many()` for everybody. Bars on Beauty (22,363 users, 12,101
items): p50 of one user 2 ms, all users 2 s. The product of all queries with all items alone, at the measured fp32
speed, is the floor of the batched call. Growth is measured on synthetic logs with an untrained model of the same size.

Without the Beauty file, a synthetic log of its size takes its place; "log" in the figures says which it was.

    python benchmarks/recommend_speed.py --log ../shared/data/beauty/interactions.parquet
"""

import statistics
import time
from pathlib import Path
from typing import Any

import calibration as c

BEAUTY = (198_502, 22_363, 12_101)  # events, users, items


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--log", type=Path, default=Path("../shared/data/beauty/interactions.parquet"))
    parser.add_argument("--model", default="transformer")
    parser.add_argument("--requests", type=int, default=500, help="single requests that are timed")
    parser.add_argument("--users", default="5000,10000,20000,40000", help="sizes for growth with users")
    parser.add_argument("--items", default="5000,10000,20000,40000", help="sizes for growth with items")
    parser.add_argument("--base", type=int, default=10_000, help="users (items) while the other one grows")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Speeds on the log, then growth."""
    recommender, source = fitted(args.log, args.model)
    one, many = latency(recommender, args.requests), everybody(recommender)
    users, items = ([int(size) for size in text.split(",")] for text in (args.users, args.items))
    by_users = [untrained(args.model, users=size, items=args.base, requests=args.requests) for size in users]
    by_items = [untrained(args.model, users=args.base, items=size, requests=args.requests) for size in items]
    figures = {
        "log": source,
        "one_user_ms": one,
        "all_users": many,
        "growth_with_users": {"sizes": users, "rows": by_users, **exponents(users, by_users)},
        "growth_with_items": {"sizes": items, "rows": by_items, **exponents(items, by_items)},
        "plot": draw(args.out, users, by_users, items, by_items),
    }
    return figures, [
        c.bar("p50 of one user in ms", one["user_p50"], 2.0),
        c.bar(f"seconds for all {many['users']:,} users", many["seconds"], 2.0),
    ]


def fitted(log: Path, model: str) -> tuple[Any, str]:
    """A recommender after one epoch, and what it was fitted on."""
    from temporec.data.synthetic import random_log
    from temporec.recommend.fitting import fit_recommender
    from temporec.runtime import RunOptions
    from temporec.workflow import load
    from temporec.workflow.presets import fit_config

    loaded = load(log if log.exists() else random_log(*BEAUTY))
    config = fit_config(model, None, {"training.epochs": 1, "text.encoder": "none"})
    c.note("fitting one epoch")
    source = str(log) if log.exists() else "synthetic, of Beauty's size"
    return fit_recommender(loaded.dataset, config, RunOptions()).recommender, source


def untrained(model: str, *, users: int, items: int, requests: int) -> dict[str, Any]:
    """Both speeds for a model that has learned nothing, on ten events a user."""
    from temporec.data.dataset import build_dataset
    from temporec.data.synthetic import random_log
    from temporec.model import ModelInputs, SequenceModel
    from temporec.recommend.recommender import NeuralRecommender
    from temporec.workflow.presets import fit_config

    dataset = build_dataset(random_log(10 * users, users, items, exponent=0.0))
    recommender = NeuralRecommender(SequenceModel(fit_config(model), ModelInputs(dataset.catalog.size)), dataset)
    row = {"users": users, "items": len(dataset.catalog), "all_users_seconds": everybody(recommender)["seconds"]}
    c.note(f"{users} users, {items} items")
    return {**row, "one_user_p50_ms": latency(recommender, requests)["user_p50"]}


def latency(recommender: Any, requests: int) -> dict[str, float]:
    """p50 and p99 in ms of single requests, by user id and by history, after some to warm up."""
    import numpy as np

    rng = np.random.default_rng(0)
    log = recommender.log
    users = rng.choice(np.flatnonzero(log.lengths > 0), requests + 20)
    decode = recommender.catalog.vocabulary.decode
    histories = [decode(log.items[log.offsets[u] : log.offsets[u + 1]]) for u in users]
    figures = {}
    for name, calls in (
        ("user", [{"user": user} for user in recommender.users.decode(users)]),
        ("history", [{"history": history} for history in histories]),
    ):
        times = []
        for call in calls:
            began = time.perf_counter()
            recommender.recommend(**call, k=10)
            times.append(1000 * (time.perf_counter() - began))
        ordered = sorted(times[20:])
        figures[f"{name}_p50"] = statistics.median(ordered)
        figures[f"{name}_p99"] = ordered[int(0.99 * (len(ordered) - 1))]
    return figures


def everybody(recommender: Any) -> dict[str, Any]:
    """Seconds of the batched call (median of three), and the product of queries and items alone."""
    users, (items, dim) = len(recommender.users), recommender.item_vectors.shape
    seconds = statistics.median(c.timed(lambda: recommender.recommend_many(k=10)))
    product = 2 * users * items * dim / (c.calibrate(0.2)["fp32_gflops"] * 1e9)
    return {"users": users, "items": items - 1, "seconds": seconds, "product_alone_seconds": product,
            "times_the_product": seconds / product}  # fmt: skip


def exponents(sizes: list[int], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Growth exponents between the two largest sizes."""
    names = ("all_users_seconds", "one_user_p50_ms")
    return {f"{name}_exponent": c.slope(sizes, [row[name] for row in rows]) for name in names} if len(rows) > 1 else {}


def draw(out: Path, users: list[int], by_users: list[Any], items: list[int], by_items: list[Any]) -> str:
    """Seconds for all users against users and against items."""
    lines = {
        "all users, by users": (users, [row["all_users_seconds"] for row in by_users]),
        "all users, by items": (items, [row["all_users_seconds"] for row in by_items]),
        "one user (s), by items": (items, [row["one_user_p50_ms"] / 1000 for row in by_items]),
    }
    return c.plot(out / "recommend_speed.png", lines, ("users or items", "seconds"), log=True)


if __name__ == "__main__":
    main()
