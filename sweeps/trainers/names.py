"""Names that no searched parameter can have: records, tables and JSON have them already."""

# Other columns of a trial's record, refused wherever a spec is read. Add new names to RESERVED_NEW instead, which is
# checked for new sweeps only: older sweeps must stay readable.
RESERVED = frozenset(
    ("arm", "dataset", "model", "method", "role", "seed", "group", "rank", "ranks", "repeat", "score", "more", "n")
)

_COLUMNS = (
    # tables of tasks and trainings
    "task stage state attempt trial dataset arm more score test_accuracy seed train_s cpu_s worker reason sweep role",
    "repeat val_accuracy scored minimize",
    # `best`, selections and surfaces as JSON
    "loss confirmed mean low high n rank ranks candidates search_best answer_hash recipe paste",
    "point accuracy incumbent",
    "distillation loss_parameters trial_number number shared formula code student teacher source target target2",
    "target3",
    # outcomes, and the columns of the dashboard and of trackers
    "model method group parameters train_images detail data weights numerics wall_s provenance blobs search",
    "epoch_val_accuracy latency latency_ms_p50 retry_of same_as facts",
    # a value of the points of an arm
    "schedule",
)
RESERVED_NEW = frozenset(name for names in _COLUMNS for name in names.split())
"""Columns and keys next to a searched parameter in records, tables or JSON, which a parameter must not hide."""
