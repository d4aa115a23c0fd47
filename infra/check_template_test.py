"""Breaks the real templates in the ways that the checks are for, and expects each to be seen."""

import pathlib
import unittest

from check_template import problems

INFRA = pathlib.Path(__file__).parent
TEMPLATE = (INFRA / "template.yaml").read_text(encoding="utf-8")
REGION = (INFRA / "region.yaml").read_text(encoding="utf-8")

# What is broken: (the template's text, what it becomes, what must be said).
BREAKS = {
    "managed_key": ("KmsMasterKeyId: !GetAtt TopicKey.Arn", "KmsMasterKeyId: alias/aws/sns", "alias/aws/sns loses"),
    "wildcard_action": ("Action: sns:Publish, Resource: !Ref FindingsTopic}", "Action: sns:*, Resource: !Ref FindingsTopic}", "allows sns:*"),
    "unexplained_star": ("Resource: !GetAtt StateTable.Arn}", "Resource: '*'}", "without a comment"),
    "unexplained_pattern": ("Resource: !GetAtt StateTable.Arn}", "Resource: !Sub '${StateTable.Arn}/*'}", "without a comment"),
    "short_visibility": ("VisibilityTimeout: 1800", "VisibilityTimeout: 1799", "six times as long"),
    "long_function": ("Timeout: 60\n", "Timeout: 61\n", "six times as long"),
    "few_attempts": ("maxReceiveCount: 5", "maxReceiveCount: 4", "fewer than 5 attempts"),
    "no_redrive": ("      RedrivePolicy: {deadLetterTargetArn: !GetAtt FindingDeadLetters.Arn, maxReceiveCount: 5}\n", "", "no dead-letter queue"),
    "plain_queue": ("SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false", "not encrypted"),
    "plaintext": ("- {Sid: DenyPlaintext, Effect: Deny, Principal: '*', Action: sqs:*, Resource: !GetAtt ObjectsQueue", "- {Sid: DenyPlaintext, Effect: Allow, Principal: '*', Action: sqs:*, Resource: !GetAtt ObjectsQueue", "denies plaintext"),
    "anybody_sends": ("Condition: {ArnEquals: {aws:SourceArn: !Ref FindingsTopic}}", "Condition: {}", "anybody's behalf"),
    "anybody_invokes": ("      SourceAccount: !Ref AWS::AccountId\n", "", "anybody's behalf"),
    "whole_batch": ("            FunctionResponseTypes: [ReportBatchItemFailures]\n", "", "repeats a whole batch"),
    "forged_events": ("source: [{prefix: aws.}]", "source: [{prefix: a}]", "anybody can put"),
    "rule_without_dlq": ("          DeadLetterConfig: {Arn: !GetAtt EventDeadLetters.Arn}\n  TrailRuleEc2:", "  TrailRuleEc2:", "without a dead-letter queue"),
    "lost_invocations": ("      DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt InvocationDeadLetters.Arn}}\n", "", "fails asynchronously"),
    "own_log": ("'^(?!/cloudvigil/)[A-Za-z0-9_./#-]*$'", "'^[A-Za-z0-9_./#-]*$'", "own log groups"),
    "mismatched_binary": ("CodeUri: ../functions/notifier", "CodeUri: ../functions/log-analyzer", "different functions"),
    "silent_alarm": ("      AlarmActions: [!Ref OperationsTopic]\n", "", "tells nobody"),
    "missing_alarm": ("MetricName: Throttles", "MetricName: Duration", "alarms on Errors and Throttles"),
}
# The same for what another region has.
REGION_BREAKS = {
    "silent_alarm": ("        resources: [!GetAtt EventDeadLettersAlarm.Arn]\n", "", "tells nobody"),
    "wildcard_action": ("Action: events:PutEvents", "Action: events:*", "allows events:*"),
    "forged_events": ("source: [{prefix: aws.}]", "source: [{prefix: a}]", "anybody can put"),
    "rule_without_dlq": ("          DeadLetterConfig: {Arn: !GetAtt EventDeadLetters.Arn}\n  TrailRuleEc2:", "  TrailRuleEc2:", "without a dead-letter queue"),
}


class CheckTemplate(unittest.TestCase):
    def test_the_templates_have_no_problem(self):
        self.assertEqual(problems(TEMPLATE), [])
        self.assertEqual(problems(REGION), [])

    def test_every_break_is_seen(self):
        for template, breaks in ((TEMPLATE, BREAKS), (REGION, REGION_BREAKS)):
            for name, (good, bad, said) in breaks.items():
                with self.subTest(name):
                    self.assertTrue(good in template, f"the template no longer has {good!r}")
                    found = problems(template.replace(good, bad, 1))
                    self.assertTrue(any(said in what for _, what in found), found)

    def test_anchors_are_refused(self):
        with self.assertRaises(SystemExit):
            problems("Resources: &r {}\nOutputs: *r\n")


if __name__ == "__main__":
    unittest.main()
