"""What becomes of a question: JSON, or a sentence with the cure and the status that fits it."""

import json
import logging
from collections.abc import Callable

import psycopg
from starlette.responses import Response

from mt_pipeline.api.cutting import NothingToCutError, RefusedError
from mt_pipeline.api.question import RowsChangedError
from mt_pipeline.api.session import ExpiredError
from mt_pipeline.api.where import WhereError
from mt_pipeline.backends.loads import BackendError
from mt_pipeline.captures.lookup import UnknownNameError
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.captures.store import InboxError
from mt_pipeline.errors import meaning
from mt_pipeline.explorer.errors import AskedWrongError, RefusedDownloadError, UnknownError
from mt_pipeline.frames.models import FrameError
from mt_pipeline.state.postgres import StateError

_log = logging.getLogger(__name__)

_NO_STORE = {"Cache-Control": "no-store"}
_STATUS: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((AskedWrongError, WhereError), 400),
    ((UnknownNameError, UnknownError), 404),
    (
        (
            RefusedDownloadError,
            RefusedError,
            NothingToCutError,
            FrameError,
            RowsChangedError,
            ExpiredError,
        ),
        409,
    ),
    ((BackendError, InboxError, LedgerError, StateError), 503),
)
_RETRY_SECONDS = 2


def as_json(value: object) -> Response:
    """Return a value as JSON, with texts as they are."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A name of which not all is UTF-8 must not lose the rest.
    return Response(
        text.encode("utf-8", "backslashreplace"), media_type="application/json", headers=_NO_STORE
    )


def of(answer: Callable[[], Response]) -> Response:
    """Return an answer, or what went wrong."""
    try:
        return answer()
    except Exception as error:
        return _problem(error)


def refusal(message: str, status: int) -> Response:
    """Return a sentence in place of an answer."""
    response = as_json({"error": message})
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


def _problem(error: Exception) -> Response:
    for kinds, status in _STATUS:
        if isinstance(error, kinds):
            return refusal(str(error), status)
    if isinstance(error, psycopg.Error):
        return refusal(f"QuestDB gives no answer: {' '.join(str(error).split())}", 503)
    if isinstance(error, OSError):
        return refusal(f"{error.filename or 'the system'}: {meaning(error)}", 503)
    _log.error("a question was not answered", exc_info=error)
    return refusal("This is a fault of the explorer; the terminal of the service has more.", 500)
