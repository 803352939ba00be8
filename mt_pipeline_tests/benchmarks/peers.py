"""Other programs that read captures, used as they document it, and installed for the benchmark."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mt_pipeline_tests.benchmarks.measuring import ORIGINAL_FIELDS, Measured, run

PACKAGES = ("nfstream", "pyshark", "scapy")

_SCRIPTS = {
    "nfstream: flows with applications": (
        "import sys, nfstream; nfstream.NFStreamer(source=sys.argv[1]).to_pandas()"
    ),
    "pyshark: packets as objects": (
        "import sys, pyshark\n"
        "for packet in pyshark.FileCapture(sys.argv[1], keep_packets=False): "
        "packet.frame_info.time_epoch"
    ),
    "scapy: packets as objects": (
        "import sys\nfrom scapy.utils import PcapReader\n"
        "for packet in PcapReader(sys.argv[1]): packet.time"
    ),
}


def candidates(tshark: str, capture: Path, folder: Path) -> dict[str, Callable[[int], Measured]]:
    """List the candidates: tshark's own outputs, and the peers that can be installed."""
    fields = [part for field in ORIGINAL_FIELDS for part in ("-e", field)]
    commands = {
        f"tshark -T {kind}": [tshark, "-n", "-r", str(capture), "-T", kind, *fields]
        for kind in ("json", "ek", "fields")
    }
    python = folder / "peers" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "peers")], check=True)
    for package, (name, script) in zip(PACKAGES, _SCRIPTS.items(), strict=True):
        if (
            subprocess.run(
                [str(python), "-m", "pip", "--quiet", "install", "--only-binary", ":all:", package],
                check=False,
            ).returncode
            == 0
        ):
            commands[name] = [str(python), "-c", script, str(capture)]
    return {name: partial(_once, command) for name, command in commands.items()}


def _once(command: list[str], _round: int) -> Measured:
    return run(command)
