"""The permissions that the emulator does not ask for, above all those that AWS's services use in a role's name.

With IAM enforced, the emulator checks the calls that a function makes, but not what is done for it:

* Lambda polls a queue as the function's role (`sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:GetQueueAttributes`):
  without them, the messages stay where they are;
* Lambda writes the log as the function's role (`logs:CreateLogStream`, `logs:PutLogEvents`): without, there is none;
* Lambda sends what failed to its destination as the function's role (`sqs:SendMessage`): without, it is gone;
* SNS uses a topic's key as the publisher (`kms:GenerateDataKey`, `kms:Decrypt`, by way of SNS): without, it refuses;
* S3 decrypts an object with its key as the reader (`kms:Decrypt`, by way of S3): without, it refuses;
* the account's own service has no names for its operations, so that nobody is asked for `account:ListRegions`;
* the Scheduler invokes its target as the schedule's role (`lambda:InvokeFunction`), and sends what it could not
  deliver to the dead-letter queue as that role (`sqs:SendMessage`).
"""

import json
import uuid

import ministack.app as app
from ministack.core import iam_actions, iam_evaluator, responses
from ministack.core.arn import parse_arn
from ministack.services import eventbridge, lambda_svc, sns

NEEDED = (
    (app, "_dispatch_service_request", ("method", "path", "headers", "body", "query_params", "request_id")),
    (app, "_routing_params", ("method", "path", "headers", "body", "query_params")),
    (app, "detect_service", ("method", "path", "headers")),
    (app, "extract_region", ("headers",)),
    (app, "extract_access_key_id", ("headers", "query_params")),
    (eventbridge, "_invoke_target", ("target", "event", "rule", "view")),
    (eventbridge, "_dispatch_to_sqs", ("spec", "payload")),
    (iam_actions, "_BOTOCORE_SERVICE_MAP", None),
    (iam_evaluator, "EvalContext", None),
    (iam_evaluator, "enforce", ("access_key_id", "iam_action", "service", "region", "resource_arn", "service_context")),
    (iam_evaluator, "evaluate", ("ctx", "policies")),
    (iam_evaluator, "_gather_role_policies", ("role_name", "account_id")),
    (lambda_svc, "_emit_lambda_logs", ("func", "request_id", "log_text", "error", "duration_ms")),
    (lambda_svc, "_functions", None),
    (lambda_svc, "_iter_all_esms", ()),
    (lambda_svc, "_route_async_failure", ("target_arn", "func_name", "event", "result")),
    (responses, "get_account_id", ()),
    (responses, "get_region", ()),
    (sns, "_topics", None),
)


def role_may(role_arn, action, resource, region, keys=None):
    """Whether the role's policies allow the action on the resource."""
    account = role_arn.split(":")[4]
    context = iam_evaluator.EvalContext(
        principal_arn=role_arn, principal_type="AssumedRole", principal_account=account, action=action,
        resource_arn=resource, region=region, service_context=keys or {})
    policies = iam_evaluator._gather_role_policies(role_arn.rsplit("/", 1)[-1], account)
    allowed = iam_evaluator.evaluate(context, policies).decision == "Allow"
    if not allowed:
        app.logger.warning("permissions: %s may not %s on %s", role_arn, action, resource)
    return allowed


def role_of(function):
    return ((function or {}).get("config") or {}).get("Role", "")


def pollable(mappings):
    """The mappings whose function's role may poll their queue."""
    for account, region, mapping in mappings:
        queue = mapping.get("EventSourceArn", "")
        if ":sqs:" in queue:
            role = role_of(lambda_svc._functions.get_scoped(account, region, mapping["FunctionName"]))
            actions = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
            if role and not all(role_may(role, action, queue, region) for action in actions):
                continue
        yield account, region, mapping


def may_log(function):
    config = function.get("config") or function
    _, _, _, region, account, _, name = config["FunctionArn"].split(":")[:7]
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
    stream = f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:a"
    return all(role_may(config["Role"], action, stream, region)
               for action in ("logs:CreateLogStream", "logs:PutLogEvents"))


def key_denial(method, path, headers, body, query_params):
    """SNS's refusal to publish to a topic whose key the caller may not use, or None."""
    params = app._routing_params(method, path, headers, body, query_params)
    if app.detect_service(method, path, headers, params) != "sns":
        return None
    first = lambda name: (params.get(name) or [""])[0] if isinstance(params.get(name), list) else params.get(name, "")
    if first("Action") not in ("Publish", "PublishBatch"):
        return None
    topic = sns._topics.get(first("TopicArn")) or {}
    key = (topic.get("attributes") or {}).get("KmsMasterKeyId", "")
    region = app.extract_region(headers)
    if not key or key.startswith("alias/"):
        return None
    if not key.startswith("arn:"):
        key = f"arn:aws:kms:{region}:{responses.get_account_id()}:key/{key}"
    access_key = app.extract_access_key_id(headers, query_params)
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        denied = iam_evaluator.enforce(access_key, action, "kms", region, resource_arn=key,
                                       service_context={"kms:ViaService": f"sns.{region}.amazonaws.com"})
        if isinstance(denied, iam_evaluator.EvalResult):
            message = f"User: {denied.principal_arn} is not authorized to perform: {action} on resource: {key}"
            text = ('<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>'
                    f"<Code>KMSAccessDenied</Code><Message>{message}</Message></Error></ErrorResponse>")
            return 400, {"Content-Type": "text/xml"}, text.encode()
    return None


def decryption_denial(method, path, headers, query_params, response):
    """S3's refusal to read out an object whose key the caller may not use, or None."""
    status, answered, _ = response
    key = {name.lower(): value for name, value in answered.items()}.get("x-amz-server-side-encryption-aws-kms-key-id")
    if method != "GET" or status not in (200, 206) or not key:
        return None
    if app.detect_service(method, path, headers, query_params) != "s3":
        return None
    region = app.extract_region(headers)
    denied = iam_evaluator.enforce(app.extract_access_key_id(headers, query_params), "kms:Decrypt", "kms", region,
                                   resource_arn=key, service_context={"kms:ViaService": f"s3.{region}.amazonaws.com"})
    if not isinstance(denied, iam_evaluator.EvalResult):
        return None
    message = f"User: {denied.principal_arn} is not authorized to perform: kms:Decrypt on resource: {key}"
    text = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
    return 403, {"Content-Type": "application/xml"}, text.encode()


def invoke_as_scheduler(invoke, target, event, rule, view):
    """A schedule's target, invoked as the schedule's role."""
    role, arn = target.get("RoleArn", ""), target["Arn"]
    if event.get("Source") != "aws.scheduler" or ":lambda:" not in arn:
        return invoke(target, event, rule, view)
    region = responses.get_region()
    if role_may(role, "lambda:InvokeFunction", arn, region):
        return invoke(target, event, rule, view)
    dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn", "")
    if dead_letters and role_may(role, "sqs:SendMessage", dead_letters, region):
        eventbridge._dispatch_to_sqs(parse_arn(dead_letters), target.get("Input") or json.dumps({"id": str(uuid.uuid4())}))
    return None


def install():
    iterate, emit, route, invoke, dispatch = (
        lambda_svc._iter_all_esms, lambda_svc._emit_lambda_logs, lambda_svc._route_async_failure,
        eventbridge._invoke_target, app._dispatch_service_request)

    def emit_as_role(func, *rest, **named):
        if may_log(func):
            emit(func, *rest, **named)

    def route_as_role(target_arn, func_name, event, result):
        function = lambda_svc._functions.get(func_name)
        if role_may(role_of(function), "sqs:SendMessage", target_arn, responses.get_region()):
            route(target_arn, func_name, event, result)

    async def dispatch_with_keys(method, path, headers, body, query_params, request_id):
        denied = key_denial(method, path, headers, body, query_params)
        if denied:
            return denied
        response = await dispatch(method, path, headers, body, query_params, request_id)
        return decryption_denial(method, path, headers, query_params, response) or response

    iam_actions._BOTOCORE_SERVICE_MAP["account"] = ["account"]
    lambda_svc._iter_all_esms = lambda: pollable(iterate())
    lambda_svc._emit_lambda_logs = emit_as_role
    lambda_svc._route_async_failure = route_as_role
    eventbridge._invoke_target = lambda target, event, rule, view=None: invoke_as_scheduler(
        invoke, target, event, rule, view)
    app._dispatch_service_request = dispatch_with_keys
