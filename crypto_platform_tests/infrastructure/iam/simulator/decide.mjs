// Decides requests by policies as IAM does: a list of simulations a line, their results a line.
import { createInterface } from 'node:readline'
import { runSimulation } from '@cloud-copilot/iam-simulate'

for await (const line of createInterface({ input: process.stdin })) {
  const decisions = []
  for (const simulation of JSON.parse(line)) {
    const answer = await runSimulation(simulation, { simulationMode: 'Strict' })
    decisions.push(
      answer.resultType === 'error'
        ? { error: answer.errors }
        : {
            result: answer.overallResult,
            // A key that IAM would not have for such a request decides nothing.
            ignored: (answer.results ?? [answer.result]).flatMap((one) => one.ignoredContextKeys),
          },
    )
  }
  process.stdout.write(`${JSON.stringify(decisions)}\n`)
}
