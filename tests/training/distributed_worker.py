"""One of the processes that a test starts with torchrun: trains recipes, and stops or dies at given steps."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ponet.config.recipe import load_recipe
from ponet.training.run import train
from ponet.utils.errors import PoNetError

RANK = int(os.environ["RANK"])
optimizer_step = torch.optim.AdamW.step
job: dict[str, Any] = {}
steps = 0


def step(self: Any, *arguments: Any, **named: Any) -> Any:
    """The second process alone dies, or is asked to stop."""
    global steps
    steps += 1
    if RANK == 1 and steps == job.get("die_at"):
        os._exit(9)
    if RANK == 1 and steps == job.get("stop_at"):
        os.kill(os.getpid(), signal.SIGTERM)
    return optimizer_step(self, *arguments, **named)


torch.optim.AdamW.step = step  # type: ignore[method-assign]
for job in json.loads(sys.argv[1]):
    steps = 0
    if RANK == 0 and job.get("overwrite"):
        time.sleep(1)  # the other one has long been here, and may not look at what was there before
    try:
        train(load_recipe("pretrain/tiny", job["changes"]), Path(job["out"]), bool(job.get("overwrite")), show=False)
    except PoNetError as error:
        print(f"{Path(job['out']).name}: {error}", file=sys.stderr)
