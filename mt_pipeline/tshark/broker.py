"""Starts a tshark that forks, in whatever namespaces this runs in, and hands it the files of its forks.

A process in a sandbox may not look into ours, so its tshark could not open the files of a caller: they come over a socket to here, where it may look.
This runs as a program of its own, with nothing but Python's library. Its input is the socket; to each message with four files, those of capture,
output, errors and end, the answer is the line that tshark says (`forkserver.lua`).
"""

import os
import socket
import sys

_FILES = 4


def main(command: list[str]) -> None:
    """Serve until the caller has closed the socket, or tshark has ended."""
    (asked, asks), (hears, said) = os.pipe(), os.pipe()
    # Not the socket: tshark would hold it open.
    os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, asked, 0), (os.POSIX_SPAWN_DUP2, said, 1)],
    )
    os.close(asked)
    os.close(said)
    with socket.socket(fileno=0) as line, open(hears, "rb", buffering=0) as answers:  # noqa: PTH123  a descriptor
        files: list[int] = []
        while answer := answers.readline():
            for file in files:
                os.close(file)
            line.send(answer.strip())
            message, files, _, _ = socket.recv_fds(line, 16, _FILES)
            if not message:
                return
            os.write(asks, f"{os.getpid()} {' '.join(map(str, files))}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
