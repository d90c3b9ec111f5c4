"""Who a request comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from wavisor.domain import Role
from wavisor.http.accounts.tokens import AccessClaims
from wavisor.http.keys.checks import good_until
from wavisor.http.keys.form import GivenKey
from wavisor.http.permissions import KEY_PERMISSIONS, Permission, permissions_of
from wavisor.storage import AccountRecord, KeyRecord

__all__ = ["KeyCredential", "Principal"]


@dataclass(frozen=True)
class KeyCredential:
    """An API key that a request came with."""

    record: KeyRecord
    given: GivenKey
    """Tells which of the key's secrets it was."""


@dataclass(frozen=True)
class Principal:
    """An authenticated user, or a key of theirs, as the database knew them at the request."""

    account: AccountRecord
    """The user's; with a key, that of the user who made it."""
    credential: AccessClaims | KeyCredential
    """What the request came with."""

    @property
    def user_id(self) -> str:
        """The user, or the one who made the key."""
        return self.account.user.id

    @property
    def subscription_id(self) -> str:
        """The tenant."""
        return self.account.subscription.id

    @property
    def role(self) -> Role:
        """What the user is inside the tenant."""
        return self.account.user.role

    @property
    def key(self) -> KeyRecord | None:
        """The key; None for a person."""
        return self.credential.record if isinstance(self.credential, KeyCredential) else None

    @property
    def instance_id(self) -> str | None:
        """The one instance that there is for a key that is bound to it; None for everybody else."""
        return None if self.key is None else self.key.instance_id

    @property
    def claims(self) -> AccessClaims:
        """Of the access token, for what only people may do.

        Raises:
            TypeError: it is a key.
        """
        if isinstance(self.credential, KeyCredential):
            raise TypeError("a key has no session")
        return self.credential

    @property
    def ends_at(self) -> datetime | None:
        """When the credential ceases to be good by itself; None for never."""
        if isinstance(self.credential, KeyCredential):
            return good_until(self.credential.record, self.credential.given)
        return self.credential.expires_at

    @property
    def rests_on(self) -> frozenset[str]:
        """The ids of everything whose change may change what this may do."""
        key = self.key
        ids = {self.user_id, self.subscription_id, key and key.id, key and key.instance_id}
        return frozenset(one for one in ids if one)

    def sees(self, instance_id: str) -> bool:
        """Tell whether one of the tenant's instances exists for this caller."""
        return self.instance_id is None or self.instance_id == instance_id

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        """What this request may do: of a key never more than its creator may at this moment."""
        key = self.key
        if key is None:
            return permissions_of(self.role, is_operator=self.account.user.is_operator)
        own = permissions_of(self.role, is_operator=False) & KEY_PERMISSIONS
        return frozenset(one for one in own if one.value in key.permissions)
