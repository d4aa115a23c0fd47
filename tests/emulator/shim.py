"""Starts MiniStack as cloudvigil's tests need it, and ends with whoever started it.

MiniStack 1.5.33 leaves out some of what cloudvigil lives on. `trail.py` gives it a CloudTrail that does what AWS's
does, `permissions.py` the permissions that AWS's services use in a role's name; and here:

* an alarm over several metrics, which a template cannot have otherwise, becomes a name alone;
* every request counts as encrypted (`aws:SecureTransport`), because policies deny what is not, and the emulator
  speaks plain HTTP;
* a function's log is taken to be whole when nothing has come for a tenth of a second, not for 5 ms: on a busy machine
  the end would go to the next invocation's log;
* the runtime's API sends an answer's two pieces at once: it held the second back until a function had acknowledged the
  first, which took 40 ms on every connection but a new one;
* a function's log group has what Lambda itself writes (START, END, REPORT) only where `SystemLogLevel` asks for it;
* the account has two regions: the emulated ones are all alike, and thirty of them take fifteen times as long.

All of this replaces private functions of the emulator. `self_check` names, before anything is served, the ones that
are gone or have changed.

The process ends its whole group when its standard input closes: a test that was killed leaves nothing behind.
"""

import os
import signal
import socketserver
import sys
import threading

import ministack.app as app
import permissions
import trail
from ministack.core import lambda_runtime, responses
from ministack.services import account, cloudwatch_logs, lambda_svc
from ministack.services.cloudformation import provisioners

REGIONS = ["us-east-1", "eu-central-1"]

NEEDED = (
    (account, "_REGIONS_LIST", None),
    (app, "main", ()),
    (cloudwatch_logs, "_append_log_events", ("stream", "events")),
    (cloudwatch_logs, "_fanout_to_subscription_filters", ("group_name", "stream_name", "events")),
    (lambda_svc, "_emit_lambda_logs", ("func", "request_id", "log_text", "error", "duration_ms")),
    (app, "pin_request_origin", ("source_ip", "secure_transport")),
    (lambda_runtime.Worker, "_drain_stderr_bounded", ("first_line_wait", "idle_confirm", "hard_cap")),
    (responses, "get_region", ()),
)


def self_check(needed):
    """What is relied on and is gone, or takes other arguments than it did."""
    missing = []
    for module, name, arguments in needed:
        found = getattr(module, name, None)
        if found is None:
            missing.append(f"{module.__name__}.{name} is gone")
        elif arguments is not None:
            names = found.__code__.co_varnames[: found.__code__.co_argcount + found.__code__.co_kwonlyargcount]
            missing += [f"{module.__name__}.{name} takes no {argument!r}" for argument in arguments if argument not in names]
    return missing


def alarms_over_several_metrics(handler):
    """The alarm's handler, but what the emulator refuses becomes a name alone."""
    def create(logical_id, props, stack_name):
        if "Metrics" not in props:
            return handler["create"](logical_id, props, stack_name)
        name = props.get("AlarmName") or f"{stack_name}-{logical_id}"
        place = f"{responses.get_region()}:{responses.get_account_id()}"
        return name, {"Arn": f"arn:aws:cloudwatch:{place}:alarm:{name}"}

    return {**handler, "create": create}


def without_platform_lines():
    """Keeps what Lambda itself writes out of log groups whose function asks for warnings alone."""
    emit, append, fan_out = (
        lambda_svc._emit_lambda_logs, cloudwatch_logs._append_log_events,
        cloudwatch_logs._fanout_to_subscription_filters)
    emitting = threading.local()

    def kept(events):
        dropped = getattr(emitting, "dropped", ())
        return [event for event in events if not (dropped and event["message"].startswith(dropped))]

    def emit_by_level(func, request_id, *rest, **named):
        logging = (func.get("config") or func).get("LoggingConfig") or {}
        lines = tuple(f"{word} RequestId: {request_id}" for word in ("START", "END", "REPORT"))
        emitting.dropped = lines if logging.get("SystemLogLevel") == "WARN" else ()
        try:
            emit(func, request_id, *rest, **named)
        finally:
            emitting.dropped = ()

    lambda_svc._emit_lambda_logs = emit_by_level
    cloudwatch_logs._append_log_events = lambda stream, events: append(stream, kept(events))
    cloudwatch_logs._fanout_to_subscription_filters = lambda group_name, stream_name, events: fan_out(
        group_name, stream_name, kept(events))


def install():
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    trail.install()
    permissions.install()
    without_platform_lines()
    handlers = provisioners._RESOURCE_HANDLERS
    handlers["AWS::CloudWatch::Alarm"] = alarms_over_several_metrics(handlers["AWS::CloudWatch::Alarm"])
    pin_request_origin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, _secure_transport: pin_request_origin(source_ip, True)
    lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = (0.2, 0.1, 5.0)
    account._REGIONS_LIST[:] = REGIONS


def end_with_the_starter():
    """Waits until the standard input closes, then ends this process and every function that it runs."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    gone = self_check(NEEDED + trail.NEEDED + permissions.NEEDED)
    if gone:
        sys.exit("shim.py does not fit this emulator (ministack==1.5.33 is expected): " + "; ".join(gone))
    install()
    threading.Thread(target=end_with_the_starter, daemon=True).start()
    app.main()
