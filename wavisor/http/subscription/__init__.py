"""A tenant's own subscription: its tier, its limits, and how much of them is used."""

from wavisor.http.subscription.routes import router

__all__ = ["router"]
