import * as fc from "effect/FastCheck"
import { describe, expect, it } from "vitest"
import * as Machine from "../../src/supervision/dynamicmachine.js"

// ---------------------------------------------------------------------------------------------------------------------
// A model of OTP's tables for dynamic supervisors, written as a reader of them would: what is known of a child are facts, and
// the list of them is copied. It knows nothing of statuses, events and actions.
// ---------------------------------------------------------------------------------------------------------------------

type Restart = "permanent" | "transient" | "temporary"

type Step =
  | { readonly op: "start"; readonly id: string; readonly restart: Restart }
  /** The build that is under way ends. */
  | { readonly op: "built"; readonly id: string; readonly how: "ok" | "fail" | "ignore" }
  /** An instance that is up ends by itself. */
  | { readonly op: "exit"; readonly id: string; readonly how: "normal" | "shutdown" | "abnormal" }
  /** The scope that is being closed is closed. */
  | { readonly op: "closed" | "retry" | "terminate"; readonly id: string }
  | { readonly op: "wait"; readonly millis: number }
  | { readonly op: "close" }
  | { readonly op: "shutdown" }

interface Scenario {
  readonly intensity: number
  readonly period: number
  readonly maxChildren: number
  readonly steps: ReadonlyArray<Step>
}

interface Facts {
  readonly id: string
  readonly restart: Restart
  /** Has been up at least once. */
  readonly known: boolean
  /** Is to be there when everything under way is done. */
  readonly wanted: boolean
  readonly doing: "building" | "running" | "closing" | "waiting"
}

/** What can happen in the model: the world that both sides are asked about. */
const model = (scenario: Scenario) => {
  let list: ReadonlyArray<Facts> = []
  let log: Array<string> = []
  let accepting = true
  let ending = false
  let time = 0
  let restarts: ReadonlyArray<number> = []

  const get = (id: string) => list.find((child) => child.id === id)
  const put = (child: Facts, change: Partial<Facts>) => {
    list = list.map((it) => (it.id === child.id ? { ...child, ...change } : it))
  }
  const remove = (child: Facts) => {
    list = list.filter((it) => it.id !== child.id)
    log.push(`forget ${child.id}`)
    if (ending && list.length === 0) log.push("exit")
  }
  const unwant = (child: Facts) => {
    if (child.doing === "waiting") {
      remove(child)
      return
    }
    if (child.wanted) log.push(`${child.doing === "closing" ? "release" : "stop"} ${child.id}`)
    put(child, { wanted: false, doing: "closing" })
  }
  const end = () => {
    if (ending) return
    accepting = false
    ending = true
    if (list.length === 0) log.push("exit")
    for (const { id } of list) {
      const child = get(id)
      if (child !== undefined) unwant(child)
    }
  }
  /** Whether one more restart is allowed. */
  const allowed = (child: Facts): boolean => {
    restarts = [...restarts, time].filter((at) => time - at <= scenario.period)
    const ok = restarts.length <= scenario.intensity
    log.push(`${ok ? "restart" : "give up"} ${child.id}`)
    if (!ok) end()
    return ok
  }

  /** Plays one step, or none if there is nothing it could happen to. */
  const play = (step: Step): ReadonlyArray<string> | undefined => {
    log = []
    if (step.op === "wait") time += step.millis
    else if (step.op === "close") accepting = false
    else if (step.op === "shutdown") end()
    else if (step.op === "start") {
      const other = get(step.id)
      if (!accepting) log.push("refuse closed")
      else if (other !== undefined) log.push(other.known && other.wanted ? "refuse already started" : "refuse busy")
      else if (list.length >= scenario.maxChildren) log.push("refuse max children")
      else {
        list = [...list, { id: step.id, restart: step.restart, known: false, wanted: true, doing: "building" }]
        log.push(`start ${step.id}`)
      }
    } else {
      const child = get(step.id)
      if (child === undefined) return undefined
      switch (step.op) {
        case "built": {
          if (child.doing !== "building") return undefined
          if (step.how === "ok") put(child, { doing: "running", known: true })
          else if (step.how === "ignore" || !child.known) remove(child)
          else {
            put(child, { doing: "waiting" })
            log.push(`retry ${child.id}`)
          }
          break
        }
        case "exit": {
          if (child.doing !== "running") return undefined
          const again = child.restart === "permanent" || (child.restart === "transient" && step.how === "abnormal")
          if (again && accepting) {
            if (!allowed(child)) break
            put(child, { doing: "closing" })
          } else {
            log.push(`done ${child.id}`)
            put(child, { doing: "closing", wanted: false })
          }
          log.push(`stop ${child.id}`)
          break
        }
        case "closed": {
          if (child.doing !== "closing") return undefined
          if (!child.wanted || !accepting) remove(child)
          else {
            put(child, { doing: "building" })
            log.push(`start ${child.id}`)
          }
          break
        }
        case "retry": {
          if (child.doing !== "waiting") return undefined
          if (!accepting) remove(child)
          else if (allowed(child)) {
            put(child, { doing: "building" })
            log.push(`start ${child.id}`)
          }
          break
        }
        case "terminate": {
          unwant(child)
        }
      }
    }
    return log
  }
  return {
    play,
    time: () => time,
    size: () => list.length,
    used: () => restarts.filter((at) => time - at <= scenario.period).length
  }
}

interface Child extends Machine.Child {
  number: number
}

const shown = (action: Machine.Action<Child>): string => {
  switch (action._tag) {
    case "Refuse":
      return `refuse ${action.refusal}`
    case "Decide":
      return `${action.decision === "forget" ? "done" : action.decision} ${action.child.id}`
    case "Exit":
      return "exit"
    default:
      return `${action._tag.toLowerCase()} ${action.child.id}`
  }
}

const eventOf = (machine: Machine.Machine<Child>, step: Step): Machine.Event<Child> | undefined => {
  switch (step.op) {
    case "wait":
      return undefined
    case "close":
      return { _tag: "Close" }
    case "shutdown":
      return { _tag: "Shutdown" }
    case "start":
      return { _tag: "Start", child: { id: step.id, restart: step.restart, status: "starting", number: 0 } }
  }
  const child = machine.children.get(step.id)
  if (child === undefined) return undefined
  switch (step.op) {
    case "built":
      return { _tag: ({ ok: "Started", fail: "StartFailed", ignore: "Ignored" } as const)[step.how], child }
    case "exit":
      return { _tag: "Exited", child, number: child.number, exit: step.how }
    case "closed":
      return { _tag: "Stopped", child }
    case "retry":
      return { _tag: "Retry", child }
    case "terminate":
      return { _tag: "Terminate", child }
  }
}

const ids = fc.constantFrom("a", "b", "c")

const scenarios: fc.Arbitrary<Scenario> = fc.record({
  intensity: fc.integer({ min: 0, max: 4 }),
  period: fc.constantFrom(1, 100, 1000),
  maxChildren: fc.constantFrom(0, 1, 2, 3, Number.POSITIVE_INFINITY),
  steps: fc.array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          op: fc.constant("start" as const),
          id: ids,
          restart: fc.constantFrom<Restart>("permanent", "transient", "temporary")
        })
      },
      {
        weight: 6,
        arbitrary: fc.record({
          op: fc.constant("built" as const),
          id: ids,
          how: fc.constantFrom("ok" as const, "ok" as const, "fail" as const, "ignore" as const)
        })
      },
      {
        weight: 5,
        arbitrary: fc.record({
          op: fc.constant("exit" as const),
          id: ids,
          how: fc.constantFrom("normal" as const, "shutdown" as const, "abnormal" as const)
        })
      },
      {
        weight: 6,
        arbitrary: fc.record({
          op: fc.constantFrom("closed" as const, "closed" as const, "retry" as const, "terminate" as const),
          id: ids
        })
      },
      {
        weight: 3,
        arbitrary: fc.record({ op: fc.constant("wait" as const), millis: fc.constantFrom(1, 50, 100, 101, 1000) })
      },
      { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("close" as const, "shutdown" as const) }) }
    ),
    { maxLength: 60, size: "max" }
  )
})

describe("the machine", () => {
  it("does what the tables say, whatever happens in whatever order", () => {
    fc.assert(
      fc.property(scenarios, (scenario) => {
        const world = model(scenario)
        const machine = Machine.make<Child>(scenario)
        for (const step of scenario.steps) {
          const event = eventOf(machine, step)
          const expected = world.play(step)
          if (expected === undefined) continue
          const actions = event === undefined ? [] : Machine.handle(machine, event, world.time())
          expect(actions.map(shown), JSON.stringify(step)).toEqual(expected)
          expect(machine.children.size).toBe(world.size())
          expect(Machine.intensityUsed(machine, world.time())).toBe(world.used())
        }
      }),
      { numRuns: 1000, seed: 7 }
    )
  })

  it("forgets everything and exits once, however it ends", () => {
    fc.assert(
      fc.property(scenarios, (scenario) => {
        const machine = Machine.make<Child>(scenario)
        let exits = 0
        const tell = (event: Machine.Event<Child> | undefined, time: number) => {
          if (event === undefined) return
          for (const action of Machine.handle(machine, event, time)) if (action._tag === "Exit") exits++
        }
        scenario.steps.forEach((step, i) => {
          tell(eventOf(machine, step), i)
        })
        tell({ _tag: "Shutdown" }, scenario.steps.length)
        for (const child of Array.from(machine.children.values()))
          tell({ _tag: "Stopped", child }, scenario.steps.length)
        expect([machine.children.size, exits]).toEqual([0, 1])
      }),
      { numRuns: 1000, seed: 8 }
    )
  })

  const up = (id: string, restart: Restart, options: Partial<Machine.Options> = {}) => {
    const machine = Machine.make<Child>({ intensity: 1, period: 1000, maxChildren: 9, ...options })
    const child: Child = { id, restart, status: "starting", number: 0 }
    Machine.handle(machine, { _tag: "Start", child }, 0)
    Machine.handle(machine, { _tag: "Started", child }, 0)
    const crash = (now: number) => {
      const actions = Machine.handle(machine, { _tag: "Exited", child, number: child.number, exit: "abnormal" }, now)
      for (const _tag of ["Stopped", "Started"] as const) Machine.handle(machine, { _tag, child }, now)
      return actions.map(shown)
    }
    return { machine, child, crash }
  }

  it("48: with an intensity of 0 gives up at the first crash", () => {
    expect(up("a", "permanent", { intensity: 0 }).crash(0)).toEqual(["give up a", "stop a"])
  })

  it("49: counts a restart that is exactly the period ago", () => {
    const inside = up("a", "permanent")
    expect([inside.crash(0), inside.crash(1000)[0]]).toEqual([["restart a", "stop a"], "give up a"])
    const outside = up("a", "permanent")
    expect([outside.crash(0), outside.crash(1001)[0]]).toEqual([["restart a", "stop a"], "restart a"])
  })

  it("ignores what is said of an instance that is gone", () => {
    const { child, crash, machine } = up("a", "permanent")
    crash(0)
    expect(Machine.handle(machine, { _tag: "Exited", child, number: 1, exit: "abnormal" }, 1)).toEqual([])
    Machine.handle(machine, { _tag: "Terminate", child }, 1)
    for (const _tag of ["Started", "StartFailed", "Ignored", "Retry", "Terminate"] as const) {
      expect(Machine.handle(machine, { _tag, child }, 1)).toEqual([])
    }
    expect(Machine.handle(machine, { _tag: "Stopped", child }, 1).map(shown)).toEqual(["forget a"])
    expect(Machine.handle(machine, { _tag: "Stopped", child }, 1)).toEqual([])
  })
})
