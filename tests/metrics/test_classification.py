import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporec.errors import DataError
from temporec.metrics.classification import evaluate_labels

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=12)


@given(LABELS)
def test_slow_twin(pairs: list[tuple[str, str]]) -> None:
    found = evaluate_labels(*(np.asarray(column) for column in zip(*pairs, strict=True)))
    rows = []
    for label in sorted({label for pair in pairs for label in pair}):
        right = sum(y == p == label for y, p in pairs)
        p_all, r_all = sum(p == label for _, p in pairs), sum(y == label for y, _ in pairs)
        rows.append((right / p_all if p_all else 0, right / r_all if r_all else 0, 2 * right / (p_all + r_all)))
    share = sum(y == p for y, p in pairs) / len(pairs)
    macro = np.mean(rows, axis=0)
    assert found == pytest.approx(
        {
            "accuracy": share,
            "precision_macro": macro[0],
            "recall_macro": macro[1],
            "f1_macro": macro[2],
            "precision_micro": share,
            "recall_micro": share,
            "f1_micro": share,
        }
    )


def test_refuses_what_does_not_match() -> None:
    with pytest.raises(DataError, match=r"got shapes \(2,\) and \(3,\)"):
        evaluate_labels(np.zeros(2), np.zeros(3))
    with pytest.raises(DataError, match="one true and one predicted"):
        evaluate_labels(np.zeros(0), np.zeros(0))
