"""A CloudTrail that does what AWS's does.

* Calls of CloudTrail itself are recorded too, query-protocol calls with their names, and denied calls with their
  `errorCode` and null `requestParameters`
  (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html); data
  events are not.
* A call is published to EventBridge as `AWS API Call via CloudTrail` only while a trail logs that covers its region,
  and never where it is read-only (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html).
  What the state was before the call decides, so that the call that stops the last trail is still published.
* Templates can have an `AWS::CloudTrail::Trail`.

A caller's address is the first of `X-Forwarded-For`, where the request has one.
"""

import contextvars
import json
import re
import threading
import time
from urllib.parse import parse_qsl, unquote

import ministack.app as app
from ministack.core import iam_actions, iam_evaluator, responses
from ministack.services import cloudtrail, eventbridge
from ministack.services.cloudformation import provisioners

# What is called or replaced, with the names of the arguments that are relied on.
NEEDED = (
    (app, "_dispatch_service_request", ("method", "path", "headers", "body", "query_params", "request_id")),
    (app, "_maybe_record_cloudtrail", ()),
    (app, "_routing_params", ("method", "path", "headers", "body", "query_params")),
    (app, "detect_service", ("method", "path", "headers")),
    (app, "extract_region", ("headers",)),
    (app, "extract_access_key_id", ("headers", "query_params")),
    (cloudtrail, "_get_event_queue", ()),
    (cloudtrail, "_account_trail_items", ()),
    (cloudtrail, "_create_trail", ("body",)),
    (cloudtrail, "_update_trail", ("body",)),
    (cloudtrail, "_delete_trail", ("body",)),
    (cloudtrail, "_start_logging", ("body",)),
    (cloudtrail, "_stop_logging", ("body",)),
    (cloudtrail, "_put_event_selectors", ("body",)),
    (cloudtrail, "_scrub", ("params",)),
    (eventbridge, "_put_events", ("data", "allow_aws_source")),
    (iam_actions, "extract_iam_action", ("service", "method", "path", "headers", "body")),
    (iam_evaluator, "resolve_credential", ("access_key_id",)),
    (responses, "get_account_id", ()),
    (provisioners, "_RESOURCE_HANDLERS", None),
)

# Calls that CloudTrail knows as data events: they are neither in the event history nor on the event bus.
DATA_EVENTS = {
    "dynamodb": re.compile(r"(Put|Get|Update|Delete)Item|Batch\w+|Query|Scan|Transact\w+|Execute\w+|PartiQL\w+"),
    "s3": re.compile(r"\w+Object\w*|CopyObject|\w*Multipart\w*|ListBucketVersions|ListBucket|UploadPart\w*|Select\w+"),
    "lambda": re.compile(r"Invoke\w*"),
    "sns": re.compile(r"Publish\w*"),
    "sqs": re.compile(r"(Send|Receive|Delete|ChangeMessageVisibility)\w*(Message|Batch|Visibility)\w*"),
    "logs": re.compile(r"PutLogEvents|GetLogEvents|FilterLogEvents|StartLiveTail"),
    "events": re.compile(r"PutEvents"),
    "kinesis": re.compile(r"PutRecords?|GetRecords"),
    "ses": re.compile(r"Send\w+"),
}

# The emulator's name of a service, where CloudTrail's event source differs.
EVENT_SOURCES = {"cloudwatch": "monitoring", "stepfunctions": "states", "sesv2": "ses"}

# S3's operations by method and sub-resource, under CloudTrail's names.
S3_BUCKET_CALLS = {
    "acl": {"PUT": "PutBucketAcl"},
    "cors": {"PUT": "PutBucketCors", "DELETE": "DeleteBucketCors"},
    "encryption": {"PUT": "PutBucketEncryption", "DELETE": "DeleteBucketEncryption"},
    "lifecycle": {"PUT": "PutBucketLifecycle", "DELETE": "DeleteBucketLifecycle"},
    "logging": {"PUT": "PutBucketLogging"},
    "notification": {"PUT": "PutBucketNotification"},
    "object-lock": {"PUT": "PutBucketObjectLockConfiguration"},
    "ownershipControls": {"PUT": "PutBucketOwnershipControls", "DELETE": "DeleteBucketOwnershipControls"},
    "policy": {"PUT": "PutBucketPolicy", "DELETE": "DeleteBucketPolicy"},
    "publicAccessBlock": {"PUT": "PutBucketPublicAccessBlock", "DELETE": "DeleteBucketPublicAccessBlock"},
    "replication": {"PUT": "PutBucketReplication", "DELETE": "DeleteBucketReplication"},
    "tagging": {"PUT": "PutBucketTagging", "DELETE": "DeleteBucketTagging"},
    "versioning": {"PUT": "PutBucketVersioning"},
    "website": {"PUT": "PutBucketWebsite", "DELETE": "DeleteBucketWebsite"},
}

# Lambda writes some of its operations with the date of its API.
LAMBDA_NAMES = {
    "AddPermission": "AddPermission20150331v2",
    "CreateFunction": "CreateFunction20150331",
    "DeleteFunction": "DeleteFunction20150331",
    "UpdateFunctionCode": "UpdateFunctionCode20150331v2",
    "UpdateFunctionConfiguration": "UpdateFunctionConfiguration20150331v2",
}

def lower_camel(value):
    """`value` with the first letter of every key in lower case, as CloudTrail writes parameters."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: lower_camel(member) for key, member in value.items()}
    if isinstance(value, list):
        return [lower_camel(member) for member in value]
    return value


def query_tree(pairs, service):
    """The parameters of a query-protocol call (`A.member.1.B=x`, EC2's `A.1.B=x`) as CloudTrail nests them."""
    root = {}
    for name, value in pairs:
        parts = [part for part in name.split(".") if part not in ("member", "entry")]
        node = root
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                break
        else:
            node[parts[-1]] = value

    def lists(node):
        if not isinstance(node, dict):
            return node
        node = {key: lists(member) for key, member in node.items()}
        if node and all(key.isdigit() for key in node):
            items = [node[key] for key in sorted(node, key=int)]
            # EC2 alone wraps its lists.
            return {"items": items} if service == "ec2" else items
        return node

    return lower_camel(lists(root))


def call_name(service, method, path, headers, body, params):
    """The call's event name, or None where it is no API call that CloudTrail knows."""
    target = headers.get("x-amz-target", "")
    if "." in target:
        return target.rsplit(".", 1)[-1]
    action = params.get("Action")
    if action:
        return action[0] if isinstance(action, list) else action
    if service == "s3":
        bucket, _, key = path.lstrip("/").partition("/")
        if not bucket:
            return "ListBuckets"
        if key:
            return f"{method.capitalize()}Object"
        for sub_resource, calls in S3_BUCKET_CALLS.items():
            if sub_resource in params:
                return calls.get(method, f"GetBucket{sub_resource[:1].upper()}{sub_resource[1:]}")
        return {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket"}.get(method, "ListObjects")
    action = iam_actions.extract_iam_action(service, method, path, headers, body, params)
    if action is None:
        return None
    name = action.split(":", 1)[1]
    return LAMBDA_NAMES.get(name, name) if service == "lambda" else name


def call_parameters(service, path, headers, body, query_params):
    """The call's `requestParameters`."""
    if service == "s3":
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        named = {"bucketName": bucket, "key": key}
        flags = {name: values[0] if isinstance(values, list) else values for name, values in query_params.items()}
        return {name: value for name, value in named.items() if value} | flags
    content_type = headers.get("content-type", "")
    if "form" in content_type:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        return query_tree([pair for pair in pairs if pair[0] not in ("Action", "Version")], service)
    try:
        parameters = json.loads(body) if body else {}
    except ValueError:
        parameters = {}
    parameters = lower_camel(parameters) if isinstance(parameters, dict) else {}
    if service == "lambda":
        function = re.search(r"/functions/([^/]+)", unquote(path))
        parameters = ({"functionName": function.group(1)} if function else {}) | parameters
    return cloudtrail._scrub(parameters)


def identity(access_key, account):
    """Who calls, as `userIdentity`."""
    credential = iam_evaluator.resolve_credential(access_key, account)
    arn = getattr(credential, "principal_arn", "") or f"arn:aws:iam::{account}:root"
    who = {"accountId": account, "arn": arn, "accessKeyId": access_key}
    resource = arn.split(":", 5)[-1]
    if resource.startswith("assumed-role/"):
        _, role, session = (resource.split("/") + ["", ""])[:3]
        issuer = {
            "type": "Role",
            "principalId": f"AROA{abs(hash(role)) % 10**16:016d}",
            "arn": f"arn:aws:iam::{account}:role/{role}",
            "accountId": account,
            "userName": role,
        }
        context = {"sessionIssuer": issuer, "attributes": {"mfaAuthenticated": "false"}}
        return {"type": "AssumedRole", "principalId": f"{issuer['principalId']}:{session}", **who,
                "sessionContext": context}
    if resource.startswith("user/"):
        return {"type": "IAMUser", "principalId": getattr(credential, "principal_id", ""), **who,
                "userName": resource.rsplit("/", 1)[-1]}
    return {"type": "Root", "principalId": account, **who}


def failure(status, body):
    """The `errorCode` and `errorMessage` of an answer; empty for a success."""
    if status < 400:
        return {}
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    try:
        answer = json.loads(text)
        code, message = answer.get("__type") or answer.get("code") or "", answer.get("message") or ""
    except (ValueError, AttributeError):
        code, message = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S) for tag in ("Code", "Message"))
        code, message = code.group(1) if code else "", message.group(1) if message else ""
    code = code.rsplit("#", 1)[-1]
    return {"errorCode": re.sub(r"^AccessDeniedException$", "AccessDenied", code) or str(status),
            "errorMessage": message}


def logs(region):
    """Whether a trail of the caller's account logs what happens in `region`."""
    return any(
        trail.get("IsLogging") and (home == region or trail.get("IsMultiRegionTrail"))
        for home, _name, trail in cloudtrail._account_trail_items()
    )


def is_read_only(name):
    return name.startswith(("Get", "List", "Describe", "Head", "Lookup", "Search", "Batch_Get"))


def record(request, answer, was_logging):
    """Writes a call into the event history and, where a trail logs, publishes it."""
    method, path, headers, body, query_params, request_id = request
    params = app._routing_params(method, path, headers, body, query_params)
    service = app.detect_service(method, path, headers, params)
    name = call_name(service, method, path, headers, body, params)
    data_event = DATA_EVENTS.get(service)
    if name is None or (data_event and data_event.fullmatch(name)):
        return
    account, region = responses.get_account_id(), app.extract_region(headers)
    access_key = app.extract_access_key_id(headers, query_params) or ""
    source = EVENT_SOURCES.get(service, service)
    failed = failure(answer[0], answer[2])
    parameters = None
    if failed.get("errorCode") not in ("AccessDenied", "UnauthorizedOperation"):
        parameters = call_parameters(service, path, headers, body, query_params) or None
    now, event_id = time.time(), responses.new_uuid()
    who = identity(access_key, account)
    read_only = is_read_only(name)
    event = {
        "eventVersion": "1.11",
        "userIdentity": who,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": headers.get("x-forwarded-for", "127.0.0.1").split(",")[0].strip(),
        "userAgent": headers.get("user-agent", "aws-cli/2"),
        **failed,
        "requestParameters": parameters,
        "responseElements": None,
        "requestID": request_id,
        "eventID": event_id,
        "readOnly": read_only,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    cloudtrail._get_event_queue().append({
        "EventId": event_id,
        "EventName": name,
        "EventSource": event["eventSource"],
        "EventTime": now,
        "Username": who.get("userName") or who["arn"].rsplit("/", 1)[-1],
        "AccessKeyId": access_key,
        "ReadOnly": "true" if read_only else "false",
        "Resources": [],
        "CloudTrailEvent": json.dumps(event),
    })
    if read_only or not (was_logging or logs(region)):
        return
    entry = {"Source": f"aws.{source}", "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(event)}
    # The call does not wait for those who listen; the caller's account and region go along.
    context = contextvars.copy_context()
    publish = threading.Thread(
        target=lambda: context.run(eventbridge._put_events, {"Entries": [entry]}, True), daemon=True)
    publish.start()


dispatch = getattr(app, "_dispatch_service_request", None)


async def recorded(method, path, headers, body, query_params, request_id):
    """The emulator's dispatch of a service call, recorded."""
    was_logging = logs(app.extract_region(headers))
    answer = await dispatch(method, path, headers, body, query_params, request_id)
    if not path.startswith("/_"):
        try:
            record((method, path, headers, body, query_params, request_id), answer, was_logging)
        except Exception:  # a test that misses an event finds the reason in the log
            app.logger.exception("shim: %s %s was not recorded", method, path)
    return answer


def checked(answer):
    """The body of a CloudTrail answer; an error where it is one."""
    status, _headers, body = answer
    if status >= 400:
        raise ValueError(body.decode())
    return json.loads(body)


def select_events(name, props):
    for selectors in ("EventSelectors", "AdvancedEventSelectors"):
        if props.get(selectors):
            checked(cloudtrail._put_event_selectors({"TrailName": name, selectors: props[selectors]}))


def set_logging(name, props):
    switch = cloudtrail._start_logging if props.get("IsLogging") in (True, "true") else cloudtrail._stop_logging
    checked(switch({"Name": name}))


def trail_settings(props):
    """A template's properties as `CreateTrail` takes them: strings such as 'true' are booleans there."""
    others = ("IsLogging", "TrailName", "Tags", "EventSelectors", "AdvancedEventSelectors", "InsightSelectors")
    words = {"true": True, "false": False}
    return {key: words.get(value, value) if isinstance(value, str) else value
            for key, value in props.items() if key not in others}


def create_trail(logical_id, props, stack_name):
    name = props.get("TrailName") or f"{stack_name}-{logical_id}"
    trail = checked(cloudtrail._create_trail({"Name": name, **trail_settings(props)}))
    select_events(name, props)
    set_logging(name, props)
    return name, {"Arn": trail["TrailARN"]}


def update_trail(physical_id, _old_props, new_props, _stack_name):
    trail = checked(cloudtrail._update_trail({"Name": physical_id, **trail_settings(new_props)}))
    select_events(physical_id, new_props)
    set_logging(physical_id, new_props)
    return physical_id, {"Arn": trail["TrailARN"]}


def delete_trail(physical_id, _props):
    checked(cloudtrail._delete_trail({"Name": physical_id}))


def install():
    app._dispatch_service_request = recorded
    app._maybe_record_cloudtrail = lambda *_: None
    provisioners._RESOURCE_HANDLERS["AWS::CloudTrail::Trail"] = {
        "create": create_trail, "update": update_trail, "delete": delete_trail}
