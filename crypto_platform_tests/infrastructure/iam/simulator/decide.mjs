// Decides requests by policies as IAM does: JSON in, JSON out, all in one process.
import { runSimulation } from '@cloud-copilot/iam-simulate'

let text = ''
for await (const chunk of process.stdin) text += chunk

const decisions = []
for (const simulation of JSON.parse(text)) {
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
process.stdout.write(JSON.stringify(decisions))
