"""Write a study's note and plots for optuna-dashboard, as its own library writes them.

Importing that library costs 4 seconds, and this is little more than cutting text into attributes; a test reads both
back with it.
"""

from collections.abc import Mapping
from typing import Any, Protocol

_PART = 2045  # characters: the dashboard's own limit for one attribute
_NOTE_VERSION = "dashboard:note_ver"


class StudyAttrs(Protocol):
    """The two methods of Optuna's storage that are needed here."""

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return all system attributes of a study."""

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write one of them."""


def has_note(storage: StudyAttrs, study_id: int) -> bool:
    """Return whether a note was ever written, here or in the dashboard."""
    return _NOTE_VERSION in storage.get_study_system_attrs(study_id)


def save_note(storage: StudyAttrs, study_id: int, note: str) -> None:
    """Put a note, Markdown, in place of the one that is there; write nothing where it is the same."""
    changed = _save_text(storage, study_id, "dashboard:note_str:", note)
    # The dashboard refuses an edit of any older version: who has the page open sees that the text is another.
    version = int(storage.get_study_system_attrs(study_id).get(_NOTE_VERSION, 0))
    if changed or version == 0:
        storage.set_study_system_attr(study_id, _NOTE_VERSION, version + 1)


def save_plots(storage: StudyAttrs, study_id: int, plots: Mapping[str, str]) -> None:
    """Put plots in place of those of the same name.

    Args:
        plots: by name (letters, digits, "-", "_", ":" and "."), each a plotly figure as JSON.
    """
    for name, figure in plots.items():
        _save_text(storage, study_id, f"dashboard:plot_data:{name}:", figure)


def _save_text(storage: StudyAttrs, study_id: int, prefix: str, text: str) -> bool:
    """Write the parts of a text that are not there already; return whether there were any."""
    changed, found = False, storage.get_study_system_attrs(study_id)
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    before = sum(key.startswith(prefix) for key in found)
    for number, part in enumerate([*parts, *[""] * (before - len(parts))]):  # parts of a longer text that was there
        if found.get(f"{prefix}{number}") != part:
            storage.set_study_system_attr(study_id, f"{prefix}{number}", part)
            changed = True
    return changed
