"""One of the processes that a test starts with torchrun: trains a recipe, and stops or dies where it is told to."""

import os
import sys
import time
from pathlib import Path

from ponet.config.recipe import load_recipe
from ponet.training import callbacks, folder
from ponet.training.run import train
from ponet.utils.errors import PoNetError

out, stop_at, die_at, overwrite, recipe, *changes = sys.argv[1:]
decide, claim = callbacks.Flow.on_step_end, folder.RunFolder._claim


def on_step_end(self, args, state, control, **kwargs):
    if state.global_step == int(die_at) and os.environ["RANK"] == "1":
        os._exit(9)
    if state.global_step == int(stop_at):
        self.interruption.signal = 15
    decide(self, args, state, control, **kwargs)


def _claim(self, *arguments):
    time.sleep(2)  # the others have long been here, and may not look at what was there before
    claim(self, *arguments)


callbacks.Flow.on_step_end, folder.RunFolder._claim = on_step_end, _claim
try:
    train(load_recipe(recipe, changes), Path(out), overwrite == "True", show=False)
except PoNetError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
