"""The websocket feed: events as they happen, and those that were missed."""
