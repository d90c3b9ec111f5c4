"""What happened to messages: sums over a range, as JSON and CSV, and live on the feed."""

from wavisor.http.statistics.live import LiveStatistics
from wavisor.http.statistics.routes import router

__all__ = ["LiveStatistics", "router"]
