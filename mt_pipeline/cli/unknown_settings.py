"""Warnings of MT_* variables that are no settings."""

import os
from pathlib import Path

from dotenv import dotenv_values

from mt_pipeline.settings import PREFIX, PROJECT, Settings
from mt_pipeline.system.nearest import did_you_mean


def warnings(*, dotenv: Path = PROJECT / ".env") -> list[str]:
    """Return a sentence for each MT_* variable that is no setting, without its value.

    Such a variable is misspelt, or of another release. Its value may be a secret.
    """
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    sources = (("the environment", os.environ), (str(dotenv), dotenv_values(dotenv)))
    return [
        f"{name} in {where} is no setting, so it changes nothing"
        f"{did_you_mean(name, known) or ';'} docs/settings.md lists all"
        for where, variables in sources
        for name in sorted(variables)
        if name.upper().startswith(PREFIX) and name.upper() not in known
    ]
