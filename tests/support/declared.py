"""Events as they really happen in tests, held against what is declared of their types."""

from __future__ import annotations

from collections.abc import Iterable

from wavisor.http.event_models import event_models
from wavisor.http.instances.views import event_model
from wavisor.storage import EventRecord

__all__ = ["check_declared"]


def check_declared(records: Iterable[EventRecord]) -> None:
    """Fail for an event that holds anything else than the declaration of its type says.

    Called by the laboratories when they close, so that whatever a test lets happen is compared.
    """
    models = event_models()
    for record in records:
        text = event_model(record).model_dump_json(by_alias=True)
        models[record.type].model_validate_json(text)
