"""How many requests are let through: by address, by caller, by tenant, and sends apart."""

from wavisor.http.limits.buckets import Buckets, Rate, Verdict
from wavisor.http.limits.layers import RateLimits

__all__ = ["Buckets", "Rate", "RateLimits", "Verdict"]
