"""`ponet demo`: the main job on data made here, in minutes on a CPU."""

from ponet.demo.run import run_demo

__all__ = ["run_demo"]
