"""Tenant isolation: the one place where rows are narrowed to a subscription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from peewee import ModelSelect

from wavisor.storage.models import TenantModel

__all__ = ["Scope"]

M = TypeVar("M", bound=TenantModel)


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything that belongs to one subscription, and nothing else.

    Repositories start every query for a tenant with one of these methods. A row of another
    tenant is then simply not there, so that handlers answer 404.
    """

    subscription_id: str

    def select(self, model: type[M], *columns: Any) -> ModelSelect[M]:
        """Return a SELECT on the tenant's rows of ``model``."""
        return model.select(*columns).where(model.subscription == self.subscription_id)

    def select_by(self, model: type[M], *columns: Any) -> ModelSelect[M]:
        """Return the same SELECT, for which no engine takes an index on the subscription.

        For conditions that have a better one, such as those on an instance: SQLite keeps no
        statistics here, and would as soon look through all that the tenant has.
        """
        return model.select(*columns).where(self._owns(model))

    def update(self, model: type[M], **values: Any) -> Any:
        """Return an UPDATE on the tenant's rows of ``model``."""
        return model.update(**values).where(model.subscription == self.subscription_id)

    def update_by(self, model: type[M], **values: Any) -> Any:
        """Return the same UPDATE, in the way of :meth:`select_by`."""
        return model.update(**values).where(self._owns(model))

    def delete(self, model: type[M]) -> Any:
        """Return a DELETE on the tenant's rows of ``model``."""
        return model.delete().where(model.subscription == self.subscription_id)

    def _owns(self, model: type[M]) -> Any:
        # Of an expression no index is taken.
        return model.subscription.concat("") == self.subscription_id
