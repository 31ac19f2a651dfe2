"""Processes that tokenize: a few blocks at a time, one process or many, with the same shards."""

import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from ponet.tasks.pretraining.blocks import Block
from ponet.tasks.pretraining.encode import BlockEncoder, begin, work
from ponet.tasks.pretraining.shards import Shard
from ponet.utils.errors import PoNetError


def encoded(blocks: Iterator[Block], tokenizer: Path, folder: Path, processes: int) -> Iterator[tuple[Shard, int]]:
    """Each block's shard, as they are done, and the bytes of files behind it; a few blocks are in memory at a time.

    Args:
        blocks: what is to be tokenized; read as there is room for more.
        tokenizer: a `tokenizer.json`.
        folder: where the shards go.
        processes: how many tokenize; 1 is this one.

    Raises:
        PoNetError: for what can't be read or written, and for a process that died. Finished shards stay.
    """
    if processes == 1:
        encoder = BlockEncoder(tokenizer, folder)
        for block in blocks:
            yield encoder(block), block.file_bytes
        return
    context = get_context("spawn")  # a fork would copy whatever threads the libraries have started
    stop, hold = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, context, begin, (str(tokenizer), str(folder), stop))
    waiting: dict[Future[Shard], int] = {}
    try:
        for block in blocks:
            with _without_interrupts():
                waiting[pool.submit(work, block)] = block.file_bytes
            while len(waiting) > processes:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result(), waiting.pop(future)
        for future in list(waiting):
            yield future.result(), waiting[future]
    except BrokenProcessPool as error:
        raise PoNetError(
            "A worker process died, for want of memory perhaps. The same command goes on; give it fewer processes."
        ) from error
    finally:
        hold.close()  # whatever ended this, no worker goes on with a block that nobody waits for
        pool.shutdown(wait=True, cancel_futures=True)
        stop.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Blocks Ctrl-C for a moment. A process begun in it never sees one: it would print a traceback of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
