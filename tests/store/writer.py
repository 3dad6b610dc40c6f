"""A process that writes until it is killed: `writer.py URL THREADS FIRST...`, and says what was acknowledged.

Thread t sends its batches FIRST[t], FIRST[t] + 1, ... one after the other, through a group commit; with 0 threads, the
process itself does, without one. After each answer it prints `ack THREAD BATCH`; what fails is sent again.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count

from temporec.errors import StoreError
from temporec.store.events import open_event_log
from temporec.store.group_commit import GroupCommit
from temporec.store.records import Record


def batch(thread: int, number: int) -> list[Record]:
    """1 to 50 records."""
    size = 1 + (7 * number + thread) % 50
    return [
        Record(f"{thread}-{number}-{place}", "events", {"user": number, "item": place, "size": size}, number)
        for place in range(size)
    ]


def write(thread: int, first: int, append: Callable[[Sequence[Record]], object]) -> None:
    for number in count(first):
        while True:
            try:
                append(batch(thread, number))
            except StoreError as error:
                print(error, file=sys.stderr, flush=True)
                os.write(1, b"failed\n")
                time.sleep(0.02)
            else:
                break
        os.write(1, f"ack {thread} {number}\n".encode())


def main() -> None:
    url, threads, *first = sys.argv[1:]
    with open_event_log(url) as log:
        if threads == "0":
            write(0, int(first[0]), log.append)
        commit = GroupCommit(log)
        for thread in range(int(threads)):
            words = (thread, int(first[thread]), lambda records: commit.submit(records).result())
            threading.Thread(target=write, args=words).start()
        threading.Event().wait()


if __name__ == "__main__":
    main()
