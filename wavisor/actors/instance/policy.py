"""The figures by which an instance is run, all in seconds unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field

from wavisor.actors.instance.download_policy import DownloadPolicy
from wavisor.actors.instance.queue_settings import PacingSettings
from wavisor.actors.instance.reconnect import ReconnectPolicy
from wavisor.actors.instance.retries import RetryPolicy
from wavisor.actors.instance.settings import HistorySettings
from wavisor.actors.supervisor import Intensity

__all__ = ["InstancePolicy"]


@dataclass(frozen=True)
class InstancePolicy:
    """How patient an instance actor is."""

    connect_timeout: float = 10.0
    """From the start of a session process to a QR code or a login."""
    pairing_timeout: float = 60.0
    """From the scan to the login."""
    library_grace: float = 3.0
    """How long after a drop the client itself may try: it does so at once and after 2 s
    (whatsmeow, client.go, autoReconnect), then ever more slowly and without bound."""
    network_timeout: float = 10.0
    """The question whether WhatsApp can be reached must be answered within this."""
    ping_interval: float = 10.0
    ping_timeout: float = 5.0
    """The session process must answer a ping within this, or it is killed."""
    probe_interval: float = 30.0
    probe_timeout: float = 10.0
    """WhatsApp must answer a probe within this, or the connection counts as lost. Interval and
    timeout together bound how long a mute server goes unnoticed."""
    stop_grace: float = 3.0
    """A session that was asked to stop is killed after this; it gives sends under way up to 2 s
    and then closes its connection."""
    kill_timeout: float = 15.0
    """A killed process must be gone within this, or the instance fails."""
    logout_timeout: float = 15.0
    """WhatsApp must confirm an unlinking within this; the keys are discarded all the same."""
    hand_over_within: float = 300.0
    """A message that its session could not hand to WhatsApp within this, as when a file uploads
    slowly, fails for certain. Typing comes on top."""
    answer_timeout: float = 90.0
    """A send that is unanswered so long after that is uncertain. More than the client's own
    75 s."""
    query_timeout: float = 30.0
    """WhatsApp must answer a query within this; the client itself would wait for 75 s."""
    pacing: PacingSettings = field(default_factory=PacingSettings)
    """How instances space what they send, where their own settings say nothing."""
    downloads: DownloadPolicy = field(default_factory=DownloadPolicy)
    """How the files of received messages are fetched."""
    history: HistorySettings = field(default_factory=HistorySettings)
    """How much of the past is taken in, where instances' own settings say nothing."""
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    reach_out_pause: float = 6 * 3600.0
    """How long nobody new is written to after WhatsApp's 463, which does not say until when."""
    pairing_code_timeout: float = 30.0
    pairing_code_lifetime: float = 160.0
    """How long the code is shown as valid; WhatsApp drops the connection after about that."""
    storage_patience: float = 60.0
    """How long a locked or lost database is waited for before the actor gives up and crashes."""
    storage_timeout: float = 5.0
    """The same for a command that somebody is waiting for."""
    reconnect: ReconnectPolicy = field(default_factory=ReconnectPolicy)
    backoff_reset_after: float = 60.0
    """A connection that lasted this long starts the waits between tries anew; one that is lost
    sooner goes on with them, so that a flapping connection does not become a busy loop."""
    crash_budget: Intensity = field(default_factory=lambda: Intensity(max_restarts=5, period=300.0))
    """How many ends of its session process an instance survives before it is ``failed``."""
