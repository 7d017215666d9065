"""Optuna's tables, as far as they are read and written here without Optuna.

Only the columns that are needed, as Optuna 5.0 names them (`optuna/storages/_rdb/models.py`). `storage.studies.adapter`
refuses tables of another version when it opens them.
"""

from sqlalchemy import Column, DateTime, Double, Integer, MetaData, String, Table, Text
from sqlalchemy.types import NullType

metadata = MetaData()

# On Postgres an enum of Optuna's: what is read is text, and text is what it takes, as long as nothing casts that to
# VARCHAR on the way. So such a column cannot be compared with text in SQL, only in Python.
_Enum = NullType

studies = Table("studies", metadata, Column("study_id", Integer), Column("study_name", String))
trials = Table(
    "trials",
    metadata,
    Column("trial_id", Integer),
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", _Enum),
    Column("datetime_start", DateTime),
)
values = Table(
    "trial_values",
    metadata,
    Column("trial_id", Integer),
    Column("objective", Integer),
    Column("value", Double),
    Column("value_type", _Enum),
)
epoch_values = Table(
    "trial_intermediate_values",
    metadata,
    Column("trial_id", Integer),
    Column("step", Integer),
    Column("intermediate_value", Double),
    Column("intermediate_value_type", _Enum),
)
params = Table(
    "trial_params",
    metadata,
    Column("trial_id", Integer),
    Column("param_name", String),
    Column("param_value", Double),
    Column("distribution_json", Text),
)
attrs = Table(
    "trial_user_attributes",
    metadata,
    Column("trial_id", Integer),
    Column("key", String),
    Column("value_json", Text),
)
