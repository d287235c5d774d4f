import * as fc from "effect/FastCheck"
import { describe, expect, it } from "vitest"
import * as Machine from "../../src/supervision/machine.js"

// ---------------------------------------------------------------------------------------------------------------------
// A model of OTP's tables, written as a reader of them would: lists are copied, and a restart is a recursive function. It
// knows nothing of events and actions.
// ---------------------------------------------------------------------------------------------------------------------

interface Spec {
  readonly id: string
  readonly restart: "permanent" | "transient" | "temporary"
  readonly significant: boolean
}

type Step =
  | { readonly op: "exit"; readonly id: string; readonly how: "normal" | "shutdown" | "abnormal" }
  | { readonly op: "terminate" | "restart" | "delete" | "add"; readonly id: string }
  | { readonly op: "fail"; readonly id: string; readonly times: number }
  | { readonly op: "wait"; readonly millis: number }

interface Scenario {
  readonly strategy: "one_for_one" | "one_for_all" | "rest_for_one" | "rest_for_dependents"
  readonly intensity: number
  readonly period: number
  readonly autoShutdown: "never" | "anySignificant" | "allSignificant"
  readonly specs: ReadonlyArray<Spec>
  readonly steps: ReadonlyArray<Step>
  /** Who reads whom, as pairs of reader and read. */
  readonly reads: ReadonlyArray<readonly [string, string]>
}

const wanted = {
  permanent: { normal: "restart", shutdown: "restart", abnormal: "restart" },
  transient: { normal: "keep", shutdown: "keep", abnormal: "restart" },
  temporary: { normal: "remove", shutdown: "remove", abnormal: "remove" }
} as const

const model = (scenario: Scenario): ReadonlyArray<string> => {
  const log: Array<string> = []
  const failing: Record<string, number> = {}
  let list: ReadonlyArray<Spec & { readonly state: "up" | "down" | "trying" }> = []
  let alive = true
  let time = 0
  let restarts: ReadonlyArray<number> = []
  let reads: Scenario["reads"] = []
  let retries: ReadonlyArray<string> = []

  const needs = (id: string, on: string): boolean =>
    reads.some(([reader, read]) => reader === id && (read === on || needs(read, on)))
  const get = (id: string) => list.find((child) => child.id === id)
  const set = (id: string, state: "up" | "down" | "trying") => {
    list = list.map((child) => (child.id === id ? { ...child, state } : child))
  }
  const remove = (id: string) => {
    list = list.filter((child) => child.id !== id)
    reads = reads.filter((pair) => !pair.includes(id))
  }
  const starts = (id: string): boolean => {
    const ok = (failing[id] ?? 0) <= 0
    if (!ok) failing[id] = (failing[id] ?? 0) - 1
    log.push(`${ok ? "start" : "fail"} ${id}`)
    return ok
  }
  const takeDown = (ids: ReadonlyArray<string>) => {
    for (const id of [...ids].reverse()) {
      if (get(id)?.state === "up") log.push(`stop ${id}`)
      set(id, "down")
      if (get(id)?.restart === "temporary") remove(id)
    }
  }
  const end = () => {
    takeDown(list.map((child) => child.id))
    list = []
    alive = false
    log.push("exit")
  }
  const restart = (id: string): void => {
    restarts = [...restarts, time].filter((at) => time - at <= scenario.period)
    set(id, "down")
    if (restarts.length > scenario.intensity) {
      end()
      return
    }
    const ids = list.map((child) => child.id)
    const along = {
      one_for_one: [id],
      rest_for_one: ids.slice(ids.indexOf(id)),
      one_for_all: ids,
      rest_for_dependents: ids.filter((other) => other === id || needs(other, id))
    }[scenario.strategy]
    takeDown(along.filter((other) => other !== id))
    const failed: Array<string> = []
    for (const next of along.filter((other) => get(other) !== undefined)) {
      if (failed.some((other) => scenario.strategy !== "rest_for_dependents" || needs(next, other))) continue
      const ok = starts(next)
      set(next, ok ? "up" : "trying")
      if (!ok) failed.push(next)
    }
    retries = [...retries, ...failed]
  }
  const retry = () => {
    while (retries.length > 0) {
      const [id, ...rest] = retries
      retries = rest
      if (id !== undefined && get(id)?.state === "trying") restart(id)
    }
  }
  const significantEnd = (child: Spec) =>
    child.significant &&
    (scenario.autoShutdown === "anySignificant" ||
      (scenario.autoShutdown === "allSignificant" &&
        !list.some((other) => other.significant && other.state !== "down")))

  for (const spec of scenario.specs) {
    list = [...list, { ...spec, state: "up" }]
    log.push(`start ${spec.id}`)
  }
  reads = scenario.reads
  for (const step of scenario.steps) {
    if (step.op === "wait") time += step.millis
    else if (step.op === "fail") failing[step.id] = step.times
    else {
      const child = get(step.id)
      if (step.op === "exit") {
        if (child?.state !== "up") continue
        set(step.id, "down")
        const what = wanted[child.restart][step.how]
        if (what === "remove") remove(step.id)
        if (what === "restart") {
          restart(step.id)
          retry()
        } else if (significantEnd(child)) end()
      } else if (!alive) log.push("noproc")
      else if (step.op === "add") {
        const spec = scenario.specs.find((it) => it.id === step.id)
        if (spec === undefined) continue
        if (child !== undefined) log.push(child.state === "up" ? "already_started" : "already_present")
        else if (starts(step.id)) {
          list = [...list, { ...spec, state: "up" }]
          log.push("ok")
        } else log.push("start_failed")
      } else if (child === undefined) log.push("not_found")
      else if (step.op === "terminate") {
        takeDown([step.id])
        log.push("ok")
      } else if (child.state === "up") log.push("running")
      else if (step.op === "delete") {
        remove(step.id)
        log.push("ok")
      } else {
        const ok = starts(step.id)
        if (ok) set(step.id, "up")
        log.push(ok ? "ok" : "start_failed")
      }
    }
    log.push(`  ${time}: ${list.map((it) => `${it.id} ${it.state}`).join(", ")}`)
  }
  return log
}

// ---------------------------------------------------------------------------------------------------------------------
// The same scenario through the machine
// ---------------------------------------------------------------------------------------------------------------------

const driver = (options: Machine.Options) => {
  const machine = Machine.make(options)
  const log: Array<string> = []
  const failing: Record<string, number> = {}
  const send = (first: Machine.Event, now = 0): void => {
    const queue = [first]
    for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
      for (const action of Machine.handle(machine, event, now)) {
        switch (action._tag) {
          case "Start": {
            const left = failing[action.id] ?? 0
            failing[action.id] = Math.max(0, left - 1)
            log.push(`${left > 0 ? "fail" : "start"} ${action.id}`)
            queue.unshift({ _tag: left > 0 ? "StartFailed" : "Started" })
            break
          }
          case "Stop":
            log.push(`stop ${action.id}`)
            break
          case "Retry":
            queue.push(action)
            break
          case "Delay":
            log.push(`delay ${action.id}`)
            break
          case "CancelDelay":
            log.push(`cancel ${action.id}`)
            break
          case "Reply":
            log.push(action.reply)
            break
          case "Exit":
            log.push("exit")
            break
          default:
        }
      }
    }
  }
  const exit = (id: string, how: Machine.ExitClass = "abnormal", now = 0): void => {
    const child = machine.children.get(id)
    if (child?.status === "up") send({ _tag: "Exited", id, instance: child.instance, exit: how }, now)
  }
  const states = () =>
    machine.closed
      ? ""
      : Array.from(
          machine.children.values(),
          (it) => `${it.id} ${it.status === "restarting" ? "trying" : it.status}`
        ).join(", ")
  return { machine, log, failing, send, exit, states }
}

const run = (scenario: Scenario): ReadonlyArray<string> => {
  const { exit, failing, log, machine, send, states } = driver(scenario)
  let time = 0
  send({ _tag: "Init", children: scenario.specs })
  for (const [reader, read] of scenario.reads) Machine.depend(machine, reader, read)
  for (const step of scenario.steps) {
    const spec = scenario.specs.find((it) => "id" in step && it.id === step.id)
    switch (step.op) {
      case "wait":
        time += step.millis
        break
      case "fail":
        failing[step.id] = step.times
        break
      case "exit":
        if (machine.closed || machine.children.get(step.id)?.status !== "up") continue
        exit(step.id, step.how, time)
        break
      case "add":
        if (spec !== undefined) send({ _tag: "StartChild", child: spec }, time)
        break
      case "terminate":
        send({ _tag: "Terminate", id: step.id }, time)
        break
      case "restart":
        send({ _tag: "Restart", id: step.id }, time)
        break
      case "delete":
        send({ _tag: "Delete", id: step.id }, time)
        break
    }
    log.push(`  ${time}: ${states()}`)
  }
  return log
}

const ids = ["a", "b", "c", "d", "e"]

const scenarios: fc.Arbitrary<Scenario> = fc.integer({ min: 1, max: 5 }).chain((n) => {
  const id = fc.constantFrom(...ids.slice(0, n))
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        op: fc.constant("exit" as const),
        id,
        how: fc.constantFrom("normal" as const, "shutdown" as const, "abnormal" as const)
      })
    },
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constantFrom("terminate" as const, "restart" as const, "delete" as const, "add" as const),
        id
      })
    },
    {
      weight: 3,
      arbitrary: fc.record({ op: fc.constant("fail" as const), id, times: fc.integer({ min: 1, max: 3 }) })
    },
    { weight: 2, arbitrary: fc.record({ op: fc.constant("wait" as const), millis: fc.integer({ min: 1, max: 12 }) }) }
  )
  return fc.record({
    strategy: fc.constantFrom(
      "one_for_one" as const,
      "one_for_all" as const,
      "rest_for_one" as const,
      "rest_for_dependents" as const
    ),
    reads: fc.subarray(
      ids.slice(0, n).flatMap((reader, at) => ids.slice(0, at).map((read) => [reader, read] as const))
    ),
    intensity: fc.integer({ min: 0, max: 5 }),
    period: fc.integer({ min: 1, max: 20 }),
    autoShutdown: fc.constantFrom("never" as const, "anySignificant" as const, "allSignificant" as const),
    specs: fc.tuple(
      ...ids.slice(0, n).map((name) =>
        fc.record({
          id: fc.constant(name),
          restart: fc.constantFrom("permanent" as const, "transient" as const, "temporary" as const),
          significant: fc.boolean()
        })
      )
    ),
    steps: fc.array(step, { maxLength: 30 })
  })
})

describe("machine", () => {
  it("205: does what a model of OTP's tables does, in every random scenario", () => {
    fc.assert(
      fc.property(scenarios, (scenario) => {
        expect(run(scenario)).toEqual(model(scenario))
      }),
      { numRuns: 3000 }
    )
  })
})

const children = (...specs: ReadonlyArray<string | Spec>): ReadonlyArray<Spec> =>
  specs.map((spec) => (typeof spec === "string" ? { id: spec, restart: "permanent", significant: false } : spec))

const started = (options: Partial<Machine.Options>, ...specs: ReadonlyArray<string | Spec>) => {
  const it = driver({ strategy: "one_for_one", intensity: 3, period: 5000, autoShutdown: "never", ...options })
  it.send({ _tag: "Init", children: children(...specs) })
  it.log.length = 0
  return it
}

describe("intensity", () => {
  it("allows as many restarts inside the period as it says, and gives up at the next", () => {
    const { exit, log } = started({ intensity: 2 }, "a", "b")
    exit("a", "abnormal", 0)
    exit("a", "abnormal", 1)
    expect(log).toEqual(["start a", "start a"])
    exit("a", "abnormal", 2)
    expect(log.slice(2)).toEqual(["stop b", "exit"])
  })

  it("of 0 gives up at the first", () => {
    const { exit, log } = started({ intensity: 0 }, "a")
    exit("a")
    expect(log).toEqual(["exit"])
  })

  it("counts a restart exactly one period ago, and not one of a millisecond more", () => {
    const inside = started({ intensity: 1 }, "a")
    inside.exit("a", "abnormal", 1000)
    inside.exit("a", "abnormal", 6000)
    expect(inside.log).toEqual(["start a", "exit"])
    const outside = started({ intensity: 1 }, "a")
    outside.exit("a", "abnormal", 1000)
    outside.exit("a", "abnormal", 6001)
    expect(outside.log).toEqual(["start a", "start a"])
  })

  it("50: is charged once for a group", () => {
    const { exit, machine } = started({ strategy: "one_for_all" }, "a", "b", "c", "d")
    exit("b")
    expect(Machine.intensityUsed(machine, 0)).toBe(1)
  })
})

describe("a group restart with a failing start", () => {
  it("one_for_all stops and starts everything again for the retry", () => {
    const { exit, failing, log } = started({ strategy: "one_for_all" }, "a", "b", "c")
    failing.b = 1
    exit("b")
    expect(log).toEqual(["stop c", "stop a", "start a", "fail b", "stop a", "start a", "start b", "start c"])
  })

  it("rest_for_one retries from the one that failed, and leaves those before it alone", () => {
    const { exit, failing, log } = started({ strategy: "rest_for_one" }, "a", "b", "c")
    failing.c = 1
    exit("b")
    expect(log).toEqual(["stop c", "start b", "fail c", "start c"])
  })
})

describe("rest_for_dependents", () => {
  const reading = (pairs: Scenario["reads"], ...specs: ReadonlyArray<string | Spec>) => {
    const it = started({ strategy: "rest_for_dependents" }, ...specs)
    for (const [reader, read] of pairs) Machine.depend(it.machine, reader, read)
    return it
  }

  it("restarts the crashed child and its transitive readers, and nobody else", () => {
    const { exit, log, machine } = reading(
      [
        ["b", "a"],
        ["d", "b"]
      ],
      "a",
      "b",
      "c",
      "d",
      "e"
    )
    exit("a")
    expect(log).toEqual(["stop d", "stop b", "start a", "start b", "start d"])
    expect(Machine.intensityUsed(machine, 0)).toBe(1)
    log.length = 0
    exit("c")
    expect(log).toEqual(["start c"])
  })

  it("starts readers that were down again, and forgets temporary ones", () => {
    const { exit, log, send, states } = reading(
      [
        ["b", "a"],
        ["c", "a"]
      ],
      "a",
      "b",
      { id: "c", restart: "temporary", significant: false }
    )
    send({ _tag: "Terminate", id: "b" })
    log.length = 0
    exit("a")
    expect(log).toEqual(["stop c", "start a", "start b"])
    expect(states()).toBe("a up, b up")
  })

  it("holds back only the readers of one that cannot start", () => {
    const { exit, failing, log, states } = reading(
      [
        ["b", "a"],
        ["c", "b"],
        ["d", "a"]
      ],
      "a",
      "b",
      "c",
      "d"
    )
    failing.b = 1
    exit("a")
    expect(log).toEqual(["stop d", "stop c", "stop b", "start a", "fail b", "start d", "start b", "start c"])
    expect(states()).toBe("a up, b up, c up, d up")
  })

  it("forgets what a child that is gone has read, and who has read it", () => {
    const { exit, log, machine, send } = reading(
      [
        ["b", "a"],
        ["c", "b"]
      ],
      "a",
      "b",
      "c"
    )
    send({ _tag: "Terminate", id: "b" })
    send({ _tag: "Delete", id: "b" })
    log.length = 0
    exit("a")
    expect(log).toEqual(["start a"])
    expect(machine.children.get("c")?.dependsOn.size).toBe(0)
    expect(Machine.depend(machine, "c", "b")).toBe(false)
    expect(Machine.depend(machine, "c", "c")).toBe(false)
    expect(Machine.depend(machine, "c", "a")).toBe(true)
    expect(Machine.depend(machine, "c", "a")).toBe(false)
  })
})

describe("a delayed child", () => {
  const delayed = (id: string) => ({ id, restart: "permanent", significant: false, delayed: true }) as const
  const resume = (it: ReturnType<typeof started>, id: string, instance: number) =>
    it.send({ _tag: "Resume", id, instance })

  it("is counted at once and started when its delay is over", () => {
    const it = started({ intensity: 2 }, delayed("a"), "b")
    it.exit("a", "abnormal", 0)
    expect(it.log).toEqual(["delay a"])
    expect(it.states()).toBe("a trying, b up")
    expect(Machine.intensityUsed(it.machine, 0)).toBe(1)
    resume(it, "a", 1)
    expect(it.log).toEqual(["delay a", "start a"])
    expect(Machine.intensityUsed(it.machine, 0)).toBe(1)
  })

  it("waits again after a start that failed, which counts, too", () => {
    const it = started({ intensity: 1 }, delayed("a"))
    it.failing.a = 1
    it.exit("a")
    resume(it, "a", 1)
    expect(it.log).toEqual(["delay a", "fail a", "exit"])
  })

  it("is not kept waiting by the intensity: one crash too many is the end at once", () => {
    const it = started({ intensity: 0 }, delayed("a"), delayed("b"))
    it.exit("a")
    expect(it.log).toEqual(["stop b", "exit"])
  })

  it("has the siblings of its group stopped at once, and started with it", () => {
    const it = started({ strategy: "one_for_all" }, "a", delayed("b"), "c")
    it.exit("b")
    expect(it.log).toEqual(["stop c", "stop a", "delay b"])
    expect(it.states()).toBe("a down, b trying, c down")
    it.log.length = 0
    it.send({ _tag: "Restart", id: "a" })
    resume(it, "b", 1)
    expect(it.log).toEqual(["start a", "ok", "stop a", "start a", "start b", "start c"])
  })

  it("is not started earlier because a sibling takes it along", () => {
    const it = started({ strategy: "rest_for_one" }, "a", delayed("b"))
    it.exit("b")
    it.exit("a")
    expect(it.log).toEqual(["delay b", "cancel b", "delay a"])
    resume(it, "b", 1)
    expect(it.log).toHaveLength(3)
    resume(it, "a", 1)
    expect(it.log.slice(3)).toEqual(["start a", "start b"])
  })

  it("answers administration calls as one that is being restarted does", () => {
    const it = started({}, delayed("a"))
    it.exit("a")
    it.log.length = 0
    it.send({ _tag: "StartChild", child: delayed("a") })
    it.send({ _tag: "Restart", id: "a" })
    it.send({ _tag: "Delete", id: "a" })
    it.send({ _tag: "Retry", id: "a", instance: 1 })
    it.send({ _tag: "Terminate", id: "a" })
    resume(it, "a", 1)
    expect(it.log).toEqual(["already_present", "restarting", "restarting", "cancel a", "ok"])
    it.send({ _tag: "Restart", id: "a" })
    expect(it.states()).toBe("a up")
  })

  it("hears nothing of an old delay", () => {
    const it = started({}, delayed("a"))
    it.exit("a")
    resume(it, "a", 1)
    it.exit("a")
    resume(it, "a", 1)
    expect(it.log).toEqual(["delay a", "start a", "delay a"])
  })

  it("has its delay cancelled when the supervisor ends", () => {
    const it = started({}, "a", delayed("b"))
    it.exit("b")
    it.send({ _tag: "Shutdown" })
    expect(it.log).toEqual(["delay b", "cancel b", "stop a", "exit"])
  })
})

describe("bystanders of a group restart", () => {
  it("are started again although they had ended normally or had been terminated", () => {
    const { exit, log, send } = started(
      { strategy: "one_for_all" },
      { id: "a", restart: "transient", significant: false },
      "b",
      "c"
    )
    exit("a", "normal")
    send({ _tag: "Terminate", id: "b" })
    log.length = 0
    exit("c")
    expect(log).toEqual(["start a", "start b", "start c"])
  })

  it("are stopped and forgotten when they are temporary", () => {
    const { exit, log, states } = started({ strategy: "rest_for_one" }, "a", {
      id: "b",
      restart: "temporary",
      significant: false
    })
    exit("a")
    expect(log).toEqual(["stop b", "start a"])
    expect(states()).toBe("a up")
  })

  it("never cause an auto-shutdown", () => {
    const { exit, machine } = started({ strategy: "one_for_all", autoShutdown: "anySignificant" }, "a", {
      id: "b",
      restart: "transient",
      significant: true
    })
    exit("a")
    expect(machine.closed).toBe(false)
  })
})

describe("auto-shutdown", () => {
  it("of all significant children waits for one whose restart is being retried", () => {
    const { exit, machine } = started(
      { autoShutdown: "allSignificant" },
      { id: "a", restart: "transient", significant: true },
      { id: "b", restart: "transient", significant: true }
    )
    Machine.handle(machine, { _tag: "Exited", id: "a", instance: 1, exit: "abnormal" }, 0)
    Machine.handle(machine, { _tag: "StartFailed" }, 0)
    exit("b", "normal")
    expect(machine.closed).toBe(false)
    Machine.handle(machine, { _tag: "Retry", id: "a", instance: 2 }, 0)
    Machine.handle(machine, { _tag: "Started" }, 0)
    exit("a", "normal")
    expect(machine.closed).toBe(true)
  })
})

describe("a late letter", () => {
  it("about an instance that was stopped in the meantime changes nothing", () => {
    const { exit, log, send } = started({ strategy: "one_for_all" }, "a", "b")
    exit("a")
    log.length = 0
    send({ _tag: "Exited", id: "b", instance: 1, exit: "abnormal" })
    expect(log).toEqual([])
  })

  it("about a retry that a terminate call has cancelled changes nothing", () => {
    const { log, machine, send } = started({}, "a")
    Machine.handle(machine, { _tag: "Exited", id: "a", instance: 1, exit: "abnormal" }, 0)
    Machine.handle(machine, { _tag: "StartFailed" }, 0)
    for (const [event, reply] of [
      [{ _tag: "StartChild", child: { id: "a", restart: "permanent", significant: false } }, "already_present"],
      [{ _tag: "Restart", id: "a" }, "restarting"],
      [{ _tag: "Delete", id: "a" }, "restarting"],
      [{ _tag: "Terminate", id: "a" }, "ok"]
    ] as const) {
      expect(Machine.handle(machine, event, 0)).toEqual([{ _tag: "Reply", reply }])
    }
    send({ _tag: "Retry", id: "a", instance: 2 })
    expect(log).toEqual([])
    send({ _tag: "Restart", id: "a" })
    expect(log).toEqual(["start a", "ok"])
  })
})

describe("a start that says ignore", () => {
  it("keeps the specification of a permanent child, and not that of a temporary one", () => {
    const { machine } = started({})
    for (const restart of ["permanent", "temporary"] as const) {
      Machine.handle(machine, { _tag: "StartChild", child: { id: restart, restart, significant: false } }, 0)
      expect(Machine.handle(machine, { _tag: "Ignored" }, 0)).toContainEqual({ _tag: "Reply", reply: "ignored" })
    }
    expect(Array.from(machine.children.keys())).toEqual(["permanent"])
  })
})
