"""Checks of a template that no linter makes: the traps that are known to lose messages in silence.

    python check_template.py template.yaml region.yaml

Prints one line a problem, with the file's line number, and exits with 1 if there is any.
"""

import json
import pathlib
import re
import sys

import yaml

DLQ_RETENTION = 14 * 24 * 3600
# EventBridge's limit on a rule's pattern, in characters of JSON.
PATTERN_LIMIT = 2048
OWN_LOG_GROUPS = "/cloudvigil/"


class Text(str):
    """A scalar that knows its line."""

    line = 0


class Map(dict):
    """A mapping that knows its line."""

    line = 0


class List(list):
    """A sequence that knows its line."""

    line = 0


class Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: `!Sub x` is `{"Fn::Sub": x}`, and there are no aliases."""

    def compose_node(self, parent, index):
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise SystemExit(f"line {event.start_mark.line + 1}: CloudFormation does not read YAML anchors and aliases")
        return super().compose_node(parent, index)


def construct(loader, node):
    if isinstance(node, yaml.MappingNode):
        value = Map({loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value})
    elif isinstance(node, yaml.SequenceNode):
        value = List(loader.construct_object(item, deep=True) for item in node.value)
    else:
        value = Text(node.value)
    value.line = node.start_mark.line + 1
    return value


def construct_function(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    value = construct(loader, yaml_untagged(node))
    if name == "Fn::GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    function = Map({name: value})
    function.line = node.start_mark.line + 1
    return function


def yaml_untagged(node):
    return type(node)(tag="", value=node.value, start_mark=node.start_mark, end_mark=node.end_mark)


for tag in ("map", "seq", "str", "timestamp"):
    Loader.add_constructor(f"tag:yaml.org,2002:{tag}", construct)
Loader.add_multi_constructor("!", construct_function)


def walk(value):
    """Every mapping below `value`, itself included."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def scalars(value):
    """Every scalar below `value`."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner)
    else:
        yield value


def listed(value):
    return value if isinstance(value, list) else [value]


def target(value):
    """The logical id that a `!Ref` or `!GetAtt` names."""
    if not isinstance(value, dict):
        return None
    if "Ref" in value:
        return value["Ref"]
    return value["Fn::GetAtt"][0] if "Fn::GetAtt" in value else None


class Template:
    """The template, and the questions that the checks ask of it."""

    def __init__(self, text):
        self.lines = text.splitlines()
        self.body = yaml.load(text, Loader)
        self.resources = self.body["Resources"]

    def of(self, kind):
        """Logical id and properties of every resource of a type."""
        return [(name, r.get("Properties", {})) for name, r in self.resources.items() if r["Type"] == kind]

    def statements(self):
        """Every policy statement, with the resource that it stands in."""
        for name, resource in self.resources.items():
            for mapping in walk(resource):
                if "Effect" in mapping:
                    yield name, resource, mapping

    def alarms(self, metric):
        """What the alarms on a metric watch: the logical ids in their dimensions."""
        return {
            target(dimension["Value"])
            for _, alarm in self.of("AWS::CloudWatch::Alarm")
            if alarm.get("MetricName") == metric
            for dimension in alarm.get("Dimensions", [])
        }

    def explained(self, line):
        """Whether a line carries a comment."""
        return " # " in self.lines[line - 1]


def aliases(t):
    """Services cannot be let into the AWS managed keys, and drop what they cannot encrypt."""
    for value in scalars(t.body):
        if isinstance(value, str) and value in ("alias/aws/sns", "alias/aws/sqs"):
            yield value.line, f"{value} loses what AWS services send; use a key of the stack, or SSE-SQS"


def actions(t):
    for name, resource, statement in t.statements():
        key_owner = resource["Type"] == "AWS::KMS::Key" and "AWS" in statement.get("Principal", {})
        for action in listed(statement.get("Action", [])):
            if statement["Effect"] == "Allow" and "*" in action and not (key_owner and action == "kms:*"):
                yield action.line, f"{name} allows {action}; name the actions"
        if "NotAction" in statement or "NotResource" in statement or "NotPrincipal" in statement:
            yield statement.line, f"{name} allows or denies by exclusion; say what is meant"


def resources(t):
    for name, _, statement in t.statements():
        if statement["Effect"] != "Allow":
            continue
        allowed = statement.get("Resource", [])
        for value in scalars(allowed):
            if isinstance(value, str) and "*" in value:
                # The comment stands on the value's line or, in a block, on the one that opens it.
                opened = {value.line, value.line - 1, allowed.line - 1} if value != "*" else {value.line}
                if not any(t.explained(line) for line in opened):
                    yield value.line, f"{name} allows {value} without a comment that says why"
        if statement.get("Principal") == "*":
            yield statement.line, f"{name} lets everybody in"


def queues(t):
    all_queues = dict(t.of("AWS::SQS::Queue"))
    redrives = {name: queue["RedrivePolicy"] for name, queue in all_queues.items() if "RedrivePolicy" in queue}
    dead = {target(policy["deadLetterTargetArn"]) for policy in redrives.values()}
    for mapping in walk(t.body):
        dead |= {target(mapping[key].get("Arn")) for key in ("DeadLetterConfig",) if key in mapping}
        dead |= {target(mapping["OnFailure"]["Destination"])} if "OnFailure" in mapping else set()
    policies = {target(q): p for _, p in t.of("AWS::SQS::QueuePolicy") for q in p["Queues"]}
    late, deep = t.alarms("ApproximateAgeOfOldestMessage"), t.alarms("ApproximateNumberOfMessagesVisible")
    for name, queue in all_queues.items():
        line = t.resources[name].line
        if queue.get("SqsManagedSseEnabled") is not True:
            yield line, f"{name} is not encrypted (SqsManagedSseEnabled)"
        plaintext = any(
            s["Effect"] == "Deny" and "aws:SecureTransport" in json.dumps(s.get("Condition", {}))
            for s in walk(policies.get(name, {}))
            if "Effect" in s
        )
        if not plaintext:
            yield line, f"{name} has no policy that denies plaintext"
        if name in dead:
            if queue.get("MessageRetentionPeriod") != DLQ_RETENTION:
                yield line, f"{name} keeps dead letters for less than 14 days"
            if "RedriveAllowPolicy" not in queue:
                yield line, f"{name} does not say which queues may send their dead letters here"
            if name not in deep:
                yield line, f"{name} has no alarm on its depth"
        else:
            if redrives.get(name, {}).get("maxReceiveCount", 0) < 5:
                yield line, f"{name} has no dead-letter queue, or fewer than 5 attempts"
            if name not in late:
                yield line, f"{name} has no alarm on its oldest message"


def senders(t):
    """A service may send to a queue or a topic on behalf of what is named only."""
    for name, _, statement in t.statements():
        service = isinstance(statement.get("Principal"), dict) and "Service" in statement["Principal"]
        sends = {"sqs:SendMessage", "sns:Publish"} & set(listed(statement.get("Action", [])))
        if statement["Effect"] == "Allow" and service and sends:
            if "aws:SourceArn" not in json.dumps(statement.get("Condition", {})):
                yield statement.line, f"{name} lets a service send on anybody's behalf; pin aws:SourceArn"
    for name, permission in t.of("AWS::Lambda::Permission"):
        if not {"SourceArn", "SourceAccount"} <= permission.keys():
            yield t.resources[name].line, f"{name} lets a service invoke on anybody's behalf; pin SourceArn and SourceAccount"


def functions(t):
    everywhere = t.body.get("Globals", {}).get("Function", {})
    queues_by_name = dict(t.of("AWS::SQS::Queue"))
    errors, throttles = t.alarms("Errors"), t.alarms("Throttles")
    for name, function in t.of("AWS::Serverless::Function"):
        line = t.resources[name].line
        binary = t.resources[name]["Metadata"]["BuildProperties"]["Binary"]
        if function["CodeUri"] != f"../functions/{binary}" or not function["FunctionName"]["Fn::Sub"].endswith(f"-{binary}"):
            yield line, f"{name}: CodeUri, Binary and FunctionName name different functions"
        if "Role" not in function or "Policies" in function:
            yield line, f"{name} needs a role of its own, written out"
        if "OnFailure" not in function.get("EventInvokeConfig", everywhere.get("EventInvokeConfig", {})).get("DestinationConfig", {}):
            yield line, f"{name} loses what fails asynchronously"
        if name not in errors or name not in throttles:
            yield line, f"{name} needs alarms on Errors and Throttles"
        for event_name, event in function.get("Events", {}).items():
            properties = event["Properties"]
            if event["Type"] == "ScheduleV2" and "DeadLetterConfig" not in properties:
                yield event.line, f"{name}'s {event_name} has no dead-letter queue"
            if event["Type"] == "SQS":
                visible = queues_by_name[target(properties["Queue"])].get("VisibilityTimeout", 30)
                window = properties.get("MaximumBatchingWindowInSeconds", 0)
                if visible < 6 * function["Timeout"] + window:
                    yield event.line, f"{name} may take {function['Timeout']} s; its queue must hide messages six times as long, not {visible} s"
                if "ReportBatchItemFailures" not in properties.get("FunctionResponseTypes", []):
                    yield event.line, f"{name}'s {event_name} repeats a whole batch for one failure (ReportBatchItemFailures)"
                if "MaximumConcurrency" not in properties.get("ScalingConfig", {}):
                    yield event.line, f"{name}'s {event_name} has no MaximumConcurrency"


def rules(t):
    for name, rule in t.of("AWS::Events::Rule"):
        line = t.resources[name].line
        for sent in rule["Targets"]:
            if "DeadLetterConfig" not in sent:
                yield line, f"{name} has a target without a dead-letter queue"
        sources = rule["EventPattern"].get("source", [])
        if not sources or not all((s.get("prefix") if isinstance(s, dict) else s).startswith("aws.") for s in sources):
            yield line, f"{name} accepts events that anybody can put (pin source to aws.)"
        size = len(json.dumps(rule["EventPattern"], separators=(",", ":")))
        if size >= PATTERN_LIMIT:
            yield line, f"{name}'s pattern has {size} characters; EventBridge takes {PATTERN_LIMIT}"


def topics(t):
    for name, topic in t.of("AWS::SNS::Topic"):
        if t.resources.get(target(topic.get("KmsMasterKeyId")), {}).get("Type") != "AWS::KMS::Key":
            yield t.resources[name].line, f"{name} needs a key of the stack"
    forwarded = set()
    for _, rule in t.of("AWS::Events::Rule"):
        if "CloudWatch Alarm State Change" in rule["EventPattern"].get("detail-type", []):
            forwarded |= {target(resource) for resource in rule["EventPattern"].get("resources", [])}
    for name, alarm in t.of("AWS::CloudWatch::Alarm"):
        if "OperationsTopic" not in [target(action) for action in alarm.get("AlarmActions", [])] and name not in forwarded:
            yield t.resources[name].line, f"{name} tells nobody"


def own_logs(t):
    """A function that is fed its own log never ends."""
    for name, group in t.of("AWS::Logs::LogGroup"):
        if not group["LogGroupName"]["Fn::Sub"].startswith(OWN_LOG_GROUPS) or "RetentionInDays" not in group:
            yield t.resources[name].line, f"{name} must lie below {OWN_LOG_GROUPS}, and expire"
    for name, parameter in t.body["Parameters"].items():
        if re.fullmatch(r"LogGroup\d+", name) and re.match(parameter["AllowedPattern"], OWN_LOG_GROUPS + "stack/notifier"):
            yield parameter.line, f"{name} accepts cloudvigil's own log groups"


CHECKS = [aliases, actions, resources, queues, senders, functions, rules, topics, own_logs]


def problems(text):
    """Every problem of a template: (line, what)."""
    template = Template(text)
    return sorted({found for check in CHECKS for found in check(template)})


def main(paths):
    failed = 0
    for path in paths:
        for line, what in problems(pathlib.Path(path).read_text(encoding="utf-8")):
            print(f"{path}:{line}: {what}")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
