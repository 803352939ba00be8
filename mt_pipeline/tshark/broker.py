"""Start a tshark that forks, within the sandbox, and pass it the files of its forks.

A process in a sandbox cannot inspect processes outside, so its tshark could not open the files of
a caller. They come over a socket to this process, which tshark can inspect. It runs as a program of
its own, with Python's library alone. Its input is the socket. Each message has four files: capture,
output, errors and end. The answer is the line that tshark prints (`forkserver.lua`).
"""

import os
import socket
import sys

_FILES = 4


def main(command: list[str]) -> None:
    """Serve until the caller closes the socket, or tshark ends."""
    (input_end, requests), (replies, output_end) = os.pipe(), os.pipe()
    # Not the socket: tshark would keep it open.
    os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, input_end, 0), (os.POSIX_SPAWN_DUP2, output_end, 1)],
    )
    os.close(input_end)
    os.close(output_end)
    answers = open(replies, "rb", buffering=0)  # noqa: PTH123, SIM115  a descriptor
    with socket.socket(fileno=0) as line, answers:
        files: list[int] = []
        while answer := answers.readline():
            for file in files:
                os.close(file)
            line.send(answer.strip())
            message, files, _, _ = socket.recv_fds(line, 16, _FILES)
            if not message:
                return
            os.write(requests, f"{os.getpid()} {' '.join(map(str, files))}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
