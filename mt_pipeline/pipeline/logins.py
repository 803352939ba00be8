"""The users of QuestDB and their passwords. Those of the embedded one are random, in files."""

from dataclasses import dataclass

from mt_pipeline.backends.questdb import java
from mt_pipeline.pipeline.options import Options
from mt_pipeline.system.passwords import password_in

_DEFAULT_PASSWORD = "quest"  # noqa: S105  the default of QuestDB itself


@dataclass(frozen=True)
class Logins:
    """The users of the QuestDB of the options.

    Attributes:
        options: of the data folder.
    """

    options: Options

    @property
    def admin(self) -> tuple[str, str]:
        """Name and password of the user with all rights."""
        options = self.options
        if options.questdb_password:
            return options.questdb_user, options.questdb_password.get_secret_value()
        if options.questdb_host:
            return options.questdb_user, _DEFAULT_PASSWORD
        return options.questdb_user, password_in(options.questdb_password_file)

    @property
    def reader(self) -> java.Reader | None:
        """The read-only user; None for a QuestDB of your own for which the settings name none."""
        options = self.options
        if options.questdb_reader_password:
            password = options.questdb_reader_password.get_secret_value()
            return java.Reader(options.questdb_reader, password)
        if options.questdb_host:
            return None
        password = password_in(options.questdb_reader_password_file)
        return java.Reader(options.questdb_reader, password)

    @property
    def sign_in(self) -> str:
        """Where a person finds the password for the console. It never names the password itself."""
        options = self.options
        own = options.questdb_password or options.questdb_host
        place = "of MT_QUESTDB_PASSWORD" if own else f"in {options.questdb_password_file}"
        return f"user {options.questdb_user}, password {place}"
