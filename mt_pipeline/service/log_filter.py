"""Dagster's log for a terminal: a failed run is one sentence, and its page has the stack traces.

Only the errors that our runs raise are shortened. A trace of anything else is unexpected, and
passes as it is.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator

_FAILED = re.compile(r" - (STEP|RUN)_FAILURE - ")
_OURS = "dagster._core.definitions.events.Failure: "
_TRACE = re.compile(r"\s|$|Stack Trace:$")
_REMEMBERED = 50
"""Number of sentences: between a capture's and its run's are those of the other captures."""


def without_traces(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines as they come, without the traces of failures that a sentence explains.

    Each sentence comes once.
    """
    recent: deque[str] = deque(maxlen=_REMEMBERED)
    pending: list[str] = []
    skipping = False
    for line in lines:
        if skipping and _TRACE.match(line):
            continue
        skipping = False
        if pending and line.startswith(_OURS):
            sentence = line.removeprefix(_OURS)
            if not any(earlier.endswith(sentence) for earlier in recent):
                recent.append(f"{_FAILED.split(pending[0])[0]} - {sentence}")
                yield recent[-1]
            pending, skipping = [], True
        elif pending and not line:
            pending.append(line)
        else:
            yield from pending
            pending = [line] if _FAILED.search(line) else []
            if not pending:
                recent.append(line)
                yield line
    yield from pending
