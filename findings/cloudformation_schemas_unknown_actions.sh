#!/usr/bin/env bash
# CloudFormation's resource schemas (of 20 October 2026, as cfn-lint 1.58.0 ships them) name
# permissions that IAM does not have.
#
# Seen: AWS::S3::Bucket wants s3:DeleteBucketCors, s3:DeleteBucketEncryption, s3:DeleteBucketLifecycle and
# more for an update, AWS::Logs::LogGroup s3:REST.PUT.OBJECT. None of them is an action: a policy that
# lists what the schemas state word by word has statements that can never apply, and a linter of
# policies refuses it. IAM knows s3:PutBucketCORS, s3:PutEncryptionConfiguration and
# s3:PutLifecycleConfiguration, which deleting takes too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cfn-lint==1.58.0 policy-sentry==0.15.2
said=$("$folder/venv/bin/python" - <<'PYTHON'
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from policy_sentry.querying.actions import get_action_data

for kind in ("AWS::S3::Bucket", "AWS::Logs::LogGroup"):
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    named = schema["handlers"]["update"]["permissions"]
    print(kind, *sorted(one for one in set(named) if not get_action_data(*one.split(":"))))
PYTHON
)
echo "$said"
grep -q "s3:DeleteBucketCors s3:DeleteBucketEncryption s3:DeleteBucketLifecycle" <<< "$said"
grep -q "AWS::Logs::LogGroup s3:REST.PUT.OBJECT" <<< "$said"
