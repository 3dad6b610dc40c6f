"""What the learner says is kept, the last part of it, over restarts."""

from pathlib import Path

from temporec.store.reports import Reports, read_reports
from temporec.store.versions import Home


def test_the_last_reports_survive_a_restart_and_damage(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert read_reports(home) == []
    Reports(home).add({"offset": 1, "ndcg": None})
    again = Reports(home)
    for n in range(2, 300):
        again.add({"offset": n, "ndcg": 0.5})
    assert [report["offset"] for report in read_reports(home)] == list(range(100, 300))
    home.reports_path.write_text('[{"offset":')
    assert read_reports(home) == []
