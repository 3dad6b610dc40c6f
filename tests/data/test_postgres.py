"""A log read from a real PostgreSQL server that this test starts; skipped where PostgreSQL is not installed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from temporec.data.readers import map_columns, read_table
from temporec.errors import ReadError

PASSWORD = "p@ss:wörd/"
ROWS = 3000
TABLE = f"""
create schema shop;
create table shop.events as select 'u' || g % 50 as user_id, g % 7 as item_id, g % 3 as rating,
    timestamptz '2024-03-31 00:00:00+00' + g * interval '1 minute' as event_time
    from generate_series(1, {ROWS}) as g;
alter user reader password '{PASSWORD}'
"""


def program(name: str) -> str | None:
    """Debian keeps the programs of the server outside PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


def as_owner(owner: str, *command: str | Path) -> None:
    """Run as a user other than root, whom PostgreSQL refuses."""
    words = [str(word) for word in command]
    words = ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--init-groups", *words] if os.geteuid() == 0 else words
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`user:password@host:port/database` of a server with a table of events."""
    initdb, pg_ctl, psql = (program(name) for name in ("initdb", "pg_ctl", "psql"))
    if initdb is None or pg_ctl is None or psql is None:
        pytest.skip("PostgreSQL is not installed here (initdb, pg_ctl, psql); on Debian: apt-get install postgresql")
    pytest.importorskip("adbc_driver_postgresql")
    folder = Path("/tmp") / f"temporec-pg-{os.getpid()}"  # short (a socket's path) and open to the server's own user
    folder.mkdir(mode=0o700)
    owner = "postgres"
    if os.geteuid() == 0:
        shutil.chown(folder, owner, owner)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        as_owner(owner, initdb, "-D", folder / "data", "-U", "reader", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        as_owner(owner, pg_ctl, "-D", folder / "data", "-l", folder / "log", "-o", options, "-w", "start")
        try:
            as_owner(owner, psql, "-h", folder, "-p", str(port), "-U", "reader", "-d", "postgres", "-qc", TABLE)
            rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            (folder / "data" / "pg_hba.conf").write_text(rules)
            as_owner(owner, pg_ctl, "-D", folder / "data", "reload")
            yield f"reader:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
        finally:
            as_owner(owner, pg_ctl, "-D", folder / "data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_table_and_a_query(server: str, scheme: str) -> None:
    url = f"{scheme}://{server}"
    frame = map_columns(read_table(f"{url}?table=shop.events"))
    assert frame.columns == ["user", "item", "time", "value"]
    assert len(frame) == ROWS
    assert frame["item"].dtype.is_integer()
    assert frame.sort("time").row(0)[:2] == ("u1", 1)
    assert str(frame["time"].min()) == "2024-03-31 00:01:00+00:00"
    query = "select user_id, item_id, event_time, rating from shop.events where item_id = 3"
    some = frame.filter(pl.col("item") == 3)
    assert_frame_equal(map_columns(read_table(url, query=query)), some, check_row_order=False)
    assert_frame_equal(map_columns(read_table(f"{url}?query={quote(query)}")), some, check_row_order=False)


def test_what_fails_is_one_sentence_without_the_password(server: str) -> None:
    place = server.split("@")[1]
    wrong = f"postgresql://reader:secret@{place}"
    gone = f"postgresql://reader:secret@127.0.0.1:1/{place.split('/')[1]}"
    for url in (f"postgresql://{server}?table=nowhere", f"{wrong}?table=shop.events", f"{gone}?table=shop.events"):
        with pytest.raises(ReadError, match="check the URL, the query and the rights of the database user") as caught:
            read_table(url)
        said = str(caught.value)
        assert "\n" not in said
        assert "secret" not in said
        assert quote(PASSWORD, safe="") not in said
        assert PASSWORD not in said
