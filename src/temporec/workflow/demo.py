"""demo: the shipped sample from the raw sheet to recommendations; and the textbook case."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from temporec.data.batch import Histories
from temporec.data.dataset import build_dataset
from temporec.data.samples import SERVICE_CODES, online_retail, online_retail_items
from temporec.recommend.explain import with_reasons
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.query import Query
from temporec.runtime import RunOptions
from temporec.workflow.answers import table
from temporec.workflow.fit import fit
from temporec.workflow.settings import Settings

__all__ = ["run_case", "run_demo"]

_CLEAN = {"data.clean.drop_items": SERVICE_CODES, "data.clean.min_item_events": 5, "judge.target": "next_basket"}
_MODEL = {"encoder.dim": 64, "training.epochs": 6, "training.tokens": 4096, "training.lr": 0.002}


def run_demo(
    out: str | Path, settings: Settings, overrides: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """Clean, fit, compare, recommend and report on Online Retail (a real shop's raw sheet, CC BY 4.0)."""
    sheet = online_retail()
    say(f"Online Retail: the raw sheet of a gift shop, {len(sheet):,} rows (Chen 2015, doi 10.24432/C5BW33, CC BY 4.0)")
    values = {**_MODEL, **overrides}
    report = fit(
        sheet, online_retail_items(sheet), "gru", settings=settings.override(_CLEAN), overrides=values, out=out
    )
    say(report.to_text())
    user = report.example_user
    query = Query(user=user, k=5)
    answer = with_reasons(report.recommender, query, report.recommender.recommend(query))
    past = report.recommender.log
    number = int(report.recommender.users.encode([user])[0])
    bought = past.items[past.offsets[number] : past.offsets[number + 1]][-5:]
    say(f"\nCustomer {user} last bought: " + "; ".join(report.recommender.catalog.titles(bought)))
    say("What next, and why:\n" + table(answer))
    first = answer.items[0]
    say(f"\nItems like {first.title}:\n" + table(report.recommender.similar(first.item, 3)))
    say(
        f"\nThe report is {Path(out) / 'report.html'}; try: temporec recommend {out} --user {user}\n"
        f"or, for all the reasons: temporec explain {out} --user {user} --item {first.item}\n"
        "(with the extra llm and SmolLM2 installed, add --phrase smollm2 to have them in one sentence)"
    )
    return {**report.to_dict(), "recommendations": answer.to_dict(), "out": str(out)}


def run_case(seed: int = 0) -> dict[str, Any]:
    """One user, items 1 to 5, one-hot input, LSTM, dense softmax: after 1, 2, 3, 4 comes ...?"""
    dataset = build_dataset(pl.DataFrame({"user": [1] * 5, "item": [1, 2, 3, 4, 5]}))
    config = FitConfig.of(
        {
            "encoder": {"kind": "lstm", "dim": 5, "residual": False},
            "head": {"tied": False, "score": "dot"},
            "fuse": "one_hot",
            "text": {"encoder": "none"},
            "dropout": 0.0,
            "residual": False,
            "norm": False,
            "training": {"epochs": 200, "optimizer": "adam", "lr": 0.05, "batch": 1},
        }
    )
    model = fit_recommender(dataset, config, RunOptions(seed=seed, precision="fp32"), exclude_seen=False).recommender
    history = Histories(np.arange(1, 5, dtype=np.int32), np.zeros(4, np.int64), np.asarray([0, 4]), has_time=False)
    chances = torch.softmax(model.score(history)[0, 1:], dim=0).tolist()
    top = 1 + int(np.argmax(chances))
    lines = ["history: 1 2 3 4  (one-hot -> LSTM -> softmax)"]
    lines += [f"  P(item {i} is next) = {p:.4f}  {'#' * round(40 * p)}" for i, p in enumerate(chances, 1)]
    lines.append(f"top item: {top}")
    return {"history": [1, 2, 3, 4], "probabilities": chances, "top": top, "text": "\n".join(lines)}
