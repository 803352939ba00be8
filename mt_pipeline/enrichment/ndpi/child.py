"""The program that reads a capture with nDPI, in a process of its own: it parses strangers' bytes.

It prints a line for each pair of ends, with tabs: address and port of both, protocol number,
nDPI's application, category and confidence. It imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

from nfstream import NFStreamer

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def main(capture: str) -> None:
    """Read a capture, and print what nDPI finds.

    Of several flows between two ends, the one that nDPI is surest of counts, then the largest:
    in the middle of a stream there is no hello.
    """
    # NFStream prints warnings to the output, and reads in a further process, which ends with us.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        os.register_at_fork(after_in_child=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
    streamer = NFStreamer(source=capture, n_meters=1, statistical_analysis=False)
    best: dict[tuple[object, ...], tuple[int, int, str, str]] = {}
    for flow in streamer:
        ends = sorted([(flow.src_ip, flow.src_port), (flow.dst_ip, flow.dst_port)])
        key: tuple[object, ...] = (*ends[0], *ends[1], flow.protocol)
        found = (
            flow.application_confidence,
            flow.bidirectional_bytes,
            flow.application_name,
            flow.application_category_name,
        )
        best[key] = max(found, best.get(key, found))
    for key, (confidence, _, application, category) in best.items():
        print(*key, application, category, confidence, sep="\t", file=output)
    output.close()


if __name__ == "__main__":
    main(sys.argv[1])
