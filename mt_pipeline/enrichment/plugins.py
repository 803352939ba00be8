"""Providers of other packages: found by the entry point group `mt_pipeline.providers`, made, and checked.

An entry point names a callable that takes a mapping of texts, the environment, and returns the provider. Its own settings are its own
variables; ours are not among them.
"""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from mt_pipeline.enrichment.models import KINDS
from mt_pipeline.enrichment.provider import (
    EnrichmentError,
    FreeProvider,
    PaidProvider,
    Provider,
    ProviderUnusable,
)

GROUP = "mt_pipeline.providers"

NAME = re.compile(r"[a-z0-9_-]{1,32}")
"""What a provider may be called."""


def names() -> list[str]:
    """List the providers that installed packages bring."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def make(name: str, environment: Mapping[str, str]) -> Provider:
    """Make the provider of this name.

    Args:
        name: of the entry point.
        environment: what its callable is given.

    Raises:
        ProviderUnusable: there is none, or several, it cannot be made, or what was made is no provider.
    """
    points = list({point.value: point for point in entry_points(group=GROUP, name=name)}.values())
    if len(points) != 1:
        raise ProviderUnusable(
            f"{len(points)} installed packages bring a provider {name!r}; install exactly one that does, or leave it out"
        )
    return _checked(name, _made(points[0], environment))


def _made(point: EntryPoint, environment: Mapping[str, str]) -> object:
    try:
        return point.load()(environment)
    except EnrichmentError as error:
        raise ProviderUnusable(str(error)) from None
    except Exception as error:  # anyone's code: whatever it is, the user shall know whose
        # The text of any other error may hold a secret of its settings; a missing variable is named.
        which = f": {error}" if isinstance(error, (KeyError, OSError, ImportError)) else ""
        raise ProviderUnusable(
            f"{point.value} cannot make its provider ({type(error).__name__}{which}); set what it needs or leave it out"
        ) from None


def _checked(name: str, made: object) -> Provider:
    if not isinstance(made, (FreeProvider, PaidProvider)):
        raise ProviderUnusable(
            f"what its package makes has not `name`, `kinds` and one of `look_up` and `ask`, so it is no provider: {type(made)}"
        )
    if made.name != name or not NAME.fullmatch(name):
        raise ProviderUnusable(
            f"it calls itself {made.name!r}; entry point and provider need one name of a-z, 0-9, _ and -"
        )
    if not made.kinds or not made.kinds <= set(KINDS):
        raise ProviderUnusable(
            f"its kinds are {sorted(made.kinds)}; they must be some of {', '.join(KINDS)}"
        )
    return made
