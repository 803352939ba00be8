"""What Dagster says, as a terminal should show it: a run that failed is a sentence. Its page has the traces.

Only what our runs raise is shortened: a trace of anything else is news, and passes as it is.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator

_FAILED = re.compile(r" - (STEP|RUN)_FAILURE - ")
_OURS = "dagster._core.definitions.events.Failure: "
_TRACE = re.compile(r"\s|$|Stack Trace:$")
_REMEMBERED = 50
"""Sentences: between that of a capture and that of its run are those of the other captures."""


def without_traces(lines: Iterable[str]) -> Iterator[str]:
    """Pass lines on as they come, but for the traces of failures whose sentence is their reason; each sentence is said once."""
    said: deque[str] = deque(maxlen=_REMEMBERED)
    pending: list[str] = []
    skipping = False
    for line in lines:
        if skipping and _TRACE.match(line):
            continue
        skipping = False
        if pending and line.startswith(_OURS):
            sentence = line.removeprefix(_OURS)
            if not any(one.endswith(sentence) for one in said):
                said.append(f"{_FAILED.split(pending[0])[0]} - {sentence}")
                yield said[-1]
            pending, skipping = [], True
        elif pending and not line:
            pending.append(line)
        else:
            yield from pending
            pending = [line] if _FAILED.search(line) else []
            if not pending:
                said.append(line)
                yield line
    yield from pending
