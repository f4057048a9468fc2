"""In place of sbatch, srun and sacct: a job runs at once, on this machine, and what was asked for is kept.

The first word says which command it is. Requests and outcomes lie in the folder ``STAND_IN_SLURM``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["STAND_IN_SLURM"])


def sbatch(words: list[str]) -> None:
    """Run what ``--wrap`` says, keep the whole request and how it ended."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--wrap")
    parser.add_argument("--output")
    options, _ = parser.parse_known_args(words)
    number = str(len(list(STATE.glob("*.asked"))) + 1)
    (STATE / f"{number}.asked").write_text("\n".join(words))
    with Path(options.output.replace("%j", number)).open("w") as log:
        inside = {**os.environ, "SLURM_JOB_ID": number}
        done = subprocess.run(options.wrap, shell=True, stdout=log, stderr=subprocess.STDOUT, env=inside)
    (STATE / f"{number}.state").write_text("COMPLETED" if done.returncode == 0 else "FAILED")
    print(number)


def srun(words: list[str]) -> int:
    """Run the command behind srun's own options."""
    own = next(i for i, word in enumerate(words) if not word.startswith("-"))
    return subprocess.run(words[own:]).returncode


def sacct() -> None:
    """How each job ended, as ``--parsable2`` prints it."""
    for path in STATE.glob("*.state"):
        print(f"{path.stem}|{path.read_text()}")


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    if name == "sbatch":
        sbatch(words)
    elif name == "srun":
        sys.exit(srun(words))
    elif name == "sacct" and "--name" in words:
        sacct()
    elif name == "sinfo":
        print("everything*")
