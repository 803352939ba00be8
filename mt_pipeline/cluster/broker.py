"""The broker that hands runs to workers: Celery over Redis. Messages are JSON, and name a run.

What a run is to do is in Dagster's storage. So who can reach the broker can have runs that exist
started, and nothing else.
"""

import json
from collections.abc import Iterable

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from mt_pipeline.pipeline.options import Options

RUN = "mt_pipeline.run"
"""Name of the task. Its only argument is the name of a run."""

QUEUE = "dagster"
"""Queue that every worker takes runs from."""

_GB = 10**9
_CLASSES = [1 << power for power in range(13)]
"""Memory in gigabytes: a worker also takes runs from the queue of each that it has."""

_TAKEN_SECONDS = 120
"""How long a worker may take to begin with a run that it took. If it has died, another gets it."""

AWAY = (OperationalError, RedisError, OSError)
"""What is raised if the broker does not answer."""

_QUIET = {"socket_connect_timeout": 5, "socket_timeout": 15, "socket_keepalive": True}


def queues(memory: int) -> list[str]:
    """Return the queues of a worker.

    Args:
        memory: bytes that programs of its machine may take.
    """
    return [QUEUE, *(_queue_of(size) for size in _CLASSES if size * _GB <= memory)]


def queue_for(need: int, memories: Iterable[int]) -> str:
    """Return the queue of a run: that of all if every worker there has the memory.

    Args:
        need: bytes that it may need.
        memories: of each worker that is there, in bytes.
    """
    sizes = sorted(memories)
    if not sizes or need <= sizes[0]:
        return QUEUE
    enough = [size for size in _CLASSES if size * _GB >= need]
    fitting = [size for size in enough if size * _GB <= sizes[-1]]
    # If no worker has it, the one with the most says what is missing.
    largest = queues(sizes[-1])[-1]
    return _queue_of(fitting[0]) if fitting else largest


def _queue_of(size: int) -> str:
    return f"memory-{size}"


def app(options: Options) -> Celery:
    """Return the application of Celery, in this process alone.

    Args:
        options: with a broker.
    """
    password = options.broker_password
    celery = Celery("mt_pipeline", broker=options.broker_url, set_as_current=False)
    celery.conf.update(
        broker_password=password.get_secret_value() if password else None,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # it may be away for hours
        broker_transport_options={"visibility_timeout": _TAKEN_SECONDS, **_QUIET},
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,  # Dagster's storage has it
        task_acks_late=False,  # a run whose worker dies is found by its locks
        task_default_queue=QUEUE,
        task_queues=[_queue(name) for name in _names()],
        task_publish_retry_policy={"max_retries": 20, "interval_start": 0.2, "interval_max": 2},
        worker_disable_prefetch=True,  # a run that waits at one worker would be begun by another
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
    )
    return celery


def answers(celery: Celery) -> str | None:
    """Ask the broker for a sign; return why there is none, or None."""
    try:
        with celery.connection_for_read() as connection:
            connection.default_channel.client.ping()
    except AWAY as error:
        return " ".join(str(error).split())
    return None


def waiting(celery: Celery) -> set[str]:
    """Return the runs that no worker has begun with.

    Raises:
        AWAY: one of these, if the broker does not answer.
    """
    with celery.connection_for_read() as connection:
        channel = connection.default_channel
        client = channel.client
        messages = [text for name in _names() for text in client.lrange(name, 0, -1)]
        taken = [json.loads(text)[0] for text in client.hvals(channel.unacked_key)]
    return {message["headers"]["id"] for message in [*map(json.loads, messages), *taken]}


def _names() -> list[str]:
    return [QUEUE, *map(_queue_of, _CLASSES)]


def _queue(name: str) -> Queue:
    # dagster-celery adds the name of the task to the key.
    return Queue(name, Exchange(name, type="topic"), routing_key=f"{name}.#")
