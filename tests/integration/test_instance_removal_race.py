"""Requests that meet the deletion of their instance."""

from __future__ import annotations

import pytest

from support.gateway import GatewayLab
from support.http import Member
from wavisor.actors.ask import ask_sync
from wavisor.actors.removals import remove_instance
from wavisor.actors.supervisor import WhichChildren
from wavisor.storage import Scope, instances


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


class Racing:
    """Another request starts the actor again, after it was ended and before the row is gone."""

    def __init__(self, gateway: GatewayLab) -> None:
        self._instances = gateway.services.instances

    async def delete(self, instance_id: str) -> None:
        await self._instances.delete(instance_id)
        await self._instances.connect(instance_id)

    async def forget(self, instance_id: str) -> None:
        await self._instances.forget(instance_id)


def supervised(gateway: GatewayLab) -> list[str]:
    assert gateway.gateway is not None
    supervisor = gateway.gateway.environment.directory.find("instances")
    return [child.id for child in ask_sync(supervisor, WhichChildren(), 60)]


def test_a_deletion_whose_row_is_gone_meanwhile_has_been_done(
    gateway: GatewayLab, owner: Member
) -> None:
    """Of two at once, the slower one may find its actor without a row."""
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    gateway.database.write_wait(instances.delete, Scope(owner.subscription_id), instance)
    gateway.run(gateway.services.instances.delete(instance))
    assert instance not in supervised(gateway)


def test_a_deleted_instance_leaves_no_actor_that_another_request_started(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    removal = remove_instance(
        Scope(owner.subscription_id),
        instance,
        database=gateway.database,
        sessions=Racing(gateway),
        media=gateway.services.media,
    )
    gateway.run(removal)
    assert not gateway.driver.latest(instance).alive
    assert supervised(gateway) == []
