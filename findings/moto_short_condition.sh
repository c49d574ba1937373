#!/usr/bin/env bash
# moto 5.2.5: a condition that names another in the short form of YAML, !Condition, is taken for false,
# and what depends on it is left out of a stack that says CREATE_COMPLETE.
#
# Seen: of two topics whose conditions say the same, one by {Condition: Wanted} and one by
# !Condition Wanted, the stack makes the first alone. CloudFormation takes the forms for the same;
# moto writes the short one out as Fn::Condition, which is no function and comes to nothing.
# The long form is therefore what a template needs that is tried with moto.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "moto[cloudformation,sns]==5.2.5"
cat > "$folder/look.py" <<'PYTHON'
import boto3
from moto import mock_aws

TEMPLATE = """
Conditions:
  Wanted: !Equals [a, a]
  LongForm: !And [{Condition: Wanted}, !Equals [a, a]]
  ShortForm: !And [!Condition Wanted, !Equals [a, a]]
Resources:
  Long:
    Type: AWS::SNS::Topic
    Condition: LongForm
    Properties: {TopicName: long}
  Short:
    Type: AWS::SNS::Topic
    Condition: ShortForm
    Properties: {TopicName: short}
"""

with mock_aws():
    cloudformation = boto3.client("cloudformation", region_name="us-east-2")
    cloudformation.create_stack(StackName="stack", TemplateBody=TEMPLATE)
    (stack,) = cloudformation.describe_stacks(StackName="stack")["Stacks"]
    topics = boto3.client("sns", region_name="us-east-2").list_topics()["Topics"]
    made = [topic["TopicArn"].rpartition(":")[2] for topic in topics]
    print(stack["StackStatus"], made)
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert made == ["long"], made
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
