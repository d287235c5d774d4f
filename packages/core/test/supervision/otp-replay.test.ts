import { describe, expect, it } from "vitest"
import * as Machine from "../../src/supervision/machine.js"
import { autoShutdown, isPresent, period, type Scenario, type Step, scenarios } from "./otp.js"

/** The least runtime there is: performs the machine's actions at once, and lets chosen starts fail. */
class Bench {
  readonly machine: Machine.Machine
  readonly failing = new Map<string, number>()
  events: Array<ReadonlyArray<string>> = []
  reply = "none"

  constructor(scenario: Scenario) {
    this.machine = Machine.make({
      strategy: scenario.strategy,
      intensity: scenario.intensity,
      period,
      autoShutdown: autoShutdown[scenario.autoShutdown]
    })
    if (scenario.initFail !== null) this.failing.set(scenario.initFail, 1)
  }

  send(event: Machine.Event): void {
    const queue: Array<Machine.Event> = [event]
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (const action of Machine.handle(this.machine, next, 0)) {
        switch (action._tag) {
          case "Start": {
            const left = this.failing.get(action.id) ?? 0
            if (left > 0) this.failing.set(action.id, left - 1)
            this.events.push([left > 0 ? "fail" : "start", action.id])
            queue.unshift({ _tag: left > 0 ? "StartFailed" : "Started" })
            break
          }
          case "Stop":
            this.events.push(["stop", action.id, "shutdown"])
            break
          case "Retry":
            queue.push(action)
            break
          case "Reply":
            this.reply = action.reply
            break
          case "Exit":
            this.events.push(["exit", "shutdown"])
            break
          case "Decide":
          case "Delay":
          case "CancelDelay":
          case "Forget":
            break
        }
      }
    }
  }

  perform(step: Step): void {
    this.events = []
    this.reply = "none"
    switch (step.op) {
      case "failNext":
        this.failing.set(step.id, step.times ?? 1)
        this.reply = "ok"
        break
      case "terminate":
        this.send({ _tag: "Terminate", id: step.id })
        break
      case "restart":
        this.send({ _tag: "Restart", id: step.id })
        break
      case "delete":
        this.send({ _tag: "Delete", id: step.id })
        break
      default: {
        const child = this.machine.children.get(step.id)
        if (child?.status !== "up") break
        this.reply = "ok"
        this.events.push(["stop", step.id, step.op])
        const exit = step.op === "crash" ? "abnormal" : step.op
        this.send({ _tag: "Exited", id: step.id, instance: child.instance, exit })
      }
    }
  }

  tree(): ReadonlyArray<readonly [string, string]> {
    return this.machine.closed
      ? []
      : Array.from(
          this.machine.children.values(),
          (child) => [child.id, child.status === "up" ? "up" : "down"] as const
        )
  }
}

describe.skipIf(!isPresent)("machine against a recording of OTP 25 (skipped where the recording is absent)", () => {
  it("starts, restarts, stops and answers as OTP did in every scenario", () => {
    expect(scenarios.length).toBe(400)
    for (const scenario of scenarios) {
      const bench = new Bench(scenario)
      bench.send({ _tag: "Init", children: scenario.children })
      const got: Array<unknown> = [{ ok: !bench.machine.closed, events: bench.events }]
      const want: Array<unknown> = [scenario.start]
      for (const step of scenario.steps) {
        bench.perform(step)
        const { events, result, alive, tree } = step
        got.push({
          op: step,
          events: bench.events,
          result: bench.reply,
          alive: !bench.machine.closed,
          tree: bench.tree()
        })
        want.push({ op: step, events, result, alive, tree })
      }
      bench.events = []
      if (scenario.stop !== undefined) {
        bench.send({ _tag: "Shutdown" })
        got.push(bench.events)
        want.push(scenario.stop)
      }
      expect(got, `scenario ${scenario.n}`).toEqual(want)
    }
  })
})
