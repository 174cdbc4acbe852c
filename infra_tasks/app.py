"""The Celery app: one place that says how Celery is used. Settings are read when they are first needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery import Celery

from infra_tasks import settings, transport
from infra_tasks.ledger.connect import url_of
from infra_tasks.model.outcome import KEEP_S
from infra_tasks.routing import FOREIGN

# Longer than any run: a hint must never be copied while its run goes on.
VISIBILITY_S = 7 * 24 * 3600
SOCKET = {
    "socket_timeout": 15,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

transport.install()


def configuration() -> dict[str, Any]:
    """Return Celery's settings for the fleet of `INFRA_HOME`. Raises FleetUnreachable, BadFleet."""
    url = url_of(settings.home())
    transport_options = {**SOCKET, "visibility_timeout": VISIBILITY_S, "client_name": settings.client_name()}
    if settings.role() == "worker":
        # A hint that got lost with its worker is the sweep's business: two writes less for each.
        transport_options["ack_emulation"] = False
    elif settings.role() == "control":
        # What it has taken and not finished stands under its own name: the next one takes it up at once.
        mine = f"unacked.control.{settings.role_node()}"
        transport_options |= {
            "unacked_key": mine,
            "unacked_index_key": f"{mine}.index",
            "unacked_mutex_key": f"{mine}.mutex",
        }
    return {
        "broker_url": url,
        "result_backend": f"infra_tasks.backend:LedgerBackend+{url}",
        "broker_transport_options": transport_options,
        "result_backend_transport_options": {"visibility_timeout": VISIBILITY_S},
        "visibility_timeout": VISIBILITY_S,
        "redis_socket_timeout": SOCKET["socket_timeout"],
        "redis_socket_connect_timeout": SOCKET["socket_connect_timeout"],
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": SOCKET["health_check_interval"],
        "redbeat_key_prefix": "redbeat:infra:",
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": True,
        "worker_enable_remote_control": True,
        "task_acks_late": settings.role() == "control",
        "task_default_queue": FOREIGN,
        "task_track_started": False,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "result_expires": KEEP_S,
        "timezone": "UTC",
        "enable_utc": True,
        "include": ["infra_tasks.tasks", *settings.included_modules()],
    }


class RunsApp(Celery):  # type: ignore[misc]
    """Celery with results that are waited for through an outage of Redis."""

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802  Celery's name
        """Return the class of its results."""
        return self.subclass_with_self("infra_tasks.results:PatientResult", reverse="AsyncResult")


app = RunsApp("infra_tasks", control="infra_tasks.control:Control", set_as_current=False)
app.add_defaults(configuration)
