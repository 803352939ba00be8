"""Providers of other packages, loaded from the entry point group `mt_pipeline.providers`.

An entry point names a callable that takes the environment, a mapping of texts, and returns the
provider. A provider has settings of its own; those of this project are not passed on.
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
"""A valid name of a provider."""


def names() -> list[str]:
    """Return the names of the providers in installed packages."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def make(name: str, environment: Mapping[str, str]) -> Provider:
    """Return a new provider.

    Args:
        name: name of the entry point.
        environment: the argument of its callable.

    Raises:
        ProviderUnusable: none or several exist, it cannot be made, or it is not a provider.
    """
    points = list({point.value: point for point in entry_points(group=GROUP, name=name)}.values())
    if len(points) != 1:
        raise ProviderUnusable(
            f"{len(points)} installed packages bring a provider {name!r}; "
            "install exactly one that does, or leave it out"
        )
    return _checked(name, _load(points[0], environment))


def _load(point: EntryPoint, environment: Mapping[str, str]) -> object:
    try:
        return point.load()(environment)
    except EnrichmentError as error:
        raise ProviderUnusable(str(error)) from None
    except Exception as error:  # the message names whose code failed
        # The text of these errors names a variable or a file; that of others may hold a secret.
        detail = f": {error}" if isinstance(error, (KeyError, OSError, ImportError)) else ""
        raise ProviderUnusable(
            f"{point.value} cannot make its provider ({type(error).__name__}{detail}); "
            "set what it needs or leave it out"
        ) from None


def _checked(name: str, made: object) -> Provider:
    if not isinstance(made, (FreeProvider, PaidProvider)):
        raise ProviderUnusable(
            f"its package makes {type(made)}, which is not a provider: "
            "it needs `name`, `kinds` and one of `look_up` and `ask`"
        )
    if made.name != name or not NAME.fullmatch(name):
        raise ProviderUnusable(
            f"it calls itself {made.name!r}; "
            "entry point and provider need the same name, of a-z, 0-9, _ and -"
        )
    if not made.kinds or not made.kinds <= set(KINDS):
        raise ProviderUnusable(
            f"its kinds are {sorted(made.kinds)}; they must be some of {', '.join(KINDS)}"
        )
    return made
