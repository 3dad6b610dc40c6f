"""How long does Temporec take to start, and how large is it installed?

Warm medians over fresh processes: `import temporec` (bar 1 s) and `temporec --help` (bar 0.5 s), beside an empty Python
process and `import torch` in the same run. With `--install`, a new virtual environment in a temporary folder gets torch
and the core from this checkout, and its size on disk is measured (bar 1.6 GB); that downloads some 250 MB.

    python benchmarks/startup.py --install
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import calibration as c

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "python": ["-c", "pass"],
    "import_torch": ["-c", "import torch"],
    "import_temporec": ["-c", "import temporec"],
    "temporec_help": ["-c", "from temporec.cli.main import run; run()", "--help"],
}


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="processes of each kind, after one to warm up")
    parser.add_argument("--install", action="store_true", help="install into a new virtual environment and weigh it")
    parser.add_argument("--torch", default="torch==2.13.0", help="what to install as torch, for --install")
    parser.add_argument(
        "--torch-args", default="", help="further arguments of pip for torch, such as an index with CPU builds"
    )
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """All commands, and the size where asked for."""
    seconds = {name: process_seconds(words, args.repeats) for name, words in COMMANDS.items()}
    size = installed_gb(args) if args.install else None
    figures = {
        "seconds": seconds,
        "import_temporec_share_of_import_torch": seconds["import_temporec"] / seconds["import_torch"],
        "import_temporec_loads_torch": loads_torch(),
        "installed_gb": size,
    }
    return figures, [
        c.bar("import temporec in s, with the start of Python", seconds["import_temporec"], 1.0),
        c.bar("temporec --help in s", seconds["temporec_help"], 0.5),
        c.bar("core install in GB", size, 1.6),
    ]


def process_seconds(words: list[str], repeats: int) -> float:
    """Median seconds of a Python process, the first one not counted."""

    def once() -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    once()
    return statistics.median(c.timed(once, least=repeats))


def loads_torch() -> bool:
    """Whether `import temporec` imports torch."""
    code = "import sys, temporec; sys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode != 0


def installed_gb(args: Any) -> float:
    """Size on disk of a new virtual environment with the core, in GB (2^30 bytes), as `du` counts it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--no-input"]
        for what in ([*args.torch_args.split(), args.torch], [str(ROOT)]):
            subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), *what], check=True, stdout=sys.stderr)
        counted = subprocess.run(["du", "-sk", folder], check=True, capture_output=True, text=True).stdout
    return int(counted.split()[0]) / 2**20


if __name__ == "__main__":
    main()
