"""All errors that Temporec raises on purpose. Each message names the thing, what came, what is allowed, what to do.

TemporecError
├── ConfigError            an option or configuration file is not usable
│   └── UnknownNameError   a name that no registry entry has
├── DataError              a log, a catalog or a query is not usable
│   ├── ReadError          a file or database that cannot be read
│   ├── ColumnError        a column is missing, doubled, empty or of the wrong type
│   ├── EmptyLogError      nothing (or not enough) left to learn from
│   ├── UnsortedLogError   events go back in time within a user
│   └── UnknownIdError     an item or user id that the catalog or the log does not have
├── CheckpointError        a saved folder is incomplete, damaged or from a newer version
├── LanguageModelError     a language model gave no usable answer in its budget
├── StoreError             the event log or a folder of versions cannot be read or written
│   ├── EventConflictError a known event id comes again with another content
│   └── StoreBusyError     more is waiting than may wait; try again later
├── ServiceError           a service cannot be reached, or it failed
├── TrainingError          training cannot go on (diverged, out of disk)
└── MissingExtraError      an optional dependency is not installed
"""

__all__ = [
    "CheckpointError",
    "ColumnError",
    "ConfigError",
    "DataError",
    "EmptyLogError",
    "EventConflictError",
    "LanguageModelError",
    "MissingExtraError",
    "ReadError",
    "ServiceError",
    "StoreBusyError",
    "StoreError",
    "TemporecError",
    "TrainingError",
    "UnknownIdError",
    "UnknownNameError",
    "UnsortedLogError",
]


class TemporecError(Exception):
    """Base of every error that a caller can mend; the CLI prints it as one sentence and exits with 2."""


class ConfigError(TemporecError, ValueError):
    """An option or a configuration file is not usable."""


class UnknownNameError(ConfigError):
    """A name that the registry does not have."""


class DataError(TemporecError, ValueError):
    """A log, a catalog or a query is not usable."""


class ReadError(DataError):
    """A file or a database cannot be read."""


class ColumnError(DataError):
    """A column is missing, doubled, empty or of the wrong type."""


class EmptyLogError(DataError):
    """Nothing, or not enough, is left to learn from."""


class UnsortedLogError(DataError):
    """Events go back in time within a user."""


class UnknownIdError(DataError, KeyError):
    """An id that the catalog or the log does not have."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class CheckpointError(TemporecError):
    """A saved folder is incomplete, damaged or from a newer version."""


class LanguageModelError(TemporecError, RuntimeError):
    """A language model, or the endpoint before it, gave no usable answer in its budget of time and tokens."""


class StoreError(TemporecError, RuntimeError):
    """The event log or a folder of versions cannot be read or written."""


class EventConflictError(StoreError):
    """A known event id comes again with another content."""


class StoreBusyError(StoreError):
    """More is waiting than may wait."""


class ServiceError(TemporecError, RuntimeError):
    """A service cannot be reached, or it failed at a request."""


class TrainingError(TemporecError, RuntimeError):
    """Training cannot go on."""


class MissingExtraError(TemporecError, ImportError):
    """An optional dependency is not installed; the message gives the pip command."""
