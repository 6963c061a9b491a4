"""Coverage-guided fuzzing: ``python -m tests.fuzz TARGET [--seconds N] [--runs N]``; without a target, all in turn.

Atheris (libFuzzer) changes inputs of `corpus/TARGET` and keeps those that reach new code. What it finds is written to
`found/` in the working folder and printed; such an input joins the corpus with the fix, as its test.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

_LONGEST_INPUT_BYTES = 32_768

with atheris.instrument_imports(include=["infscale", "adapter", "picker"]):  # pyright: ignore[reportAttributeAccessIssue]
    from tests.fuzz.targets import CORPUS, TARGETS


def fuzz(name: str, seconds: int, runs: int, kept: Path) -> None:
    """Fuzz one target in this process; ends the process, with a failure where something was found."""
    found = Path("found")
    found.mkdir(exist_ok=True)
    flags = [
        f"-max_total_time={seconds}",
        f"-runs={runs}",
        f"-max_len={_LONGEST_INPUT_BYTES}",
        f"-artifact_prefix={found}/{name}-",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(kept), str(CORPUS / name)], TARGETS[name]())
    atheris.Fuzz()


def main() -> int:
    """Fuzz what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Coverage-guided fuzzing")
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS), help="default: all of them in turn")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default %(default)s)")
    parser.add_argument("--runs", type=int, default=-1, help="at most so many inputs (default: no limit)")
    asked = parser.parse_args()
    if asked.target is not None:
        with tempfile.TemporaryDirectory() as kept:
            fuzz(asked.target, asked.seconds, asked.runs, Path(kept))
        return 0
    failed: list[str] = []
    for name in TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", name, f"--seconds={asked.seconds}", f"--runs={asked.runs}"]
        print(f"== {name}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"found something in {', '.join(failed)}: see found/" if failed else "nothing was found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
