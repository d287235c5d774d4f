import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, type Scope } from "effect"
import * as Machine from "../../../src/supervision/machine.js"
import * as Supervised from "../../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"
import { chain, end, family, type Member, type MemberOptions, member, reply, settle, statuses, used } from "./family.js"

/** A layer that keeps the supervisor may start children when the tree is long up. */
class Nursery extends Context.Tag("Nursery")<
  Nursery,
  { readonly context: Context.Context<Supervised.CurrentSupervisor>; readonly scope: Scope.Scope }
>() {}

const nursery = Layer.scoped(
  Nursery,
  Effect.all({ context: Effect.context<Supervised.CurrentSupervisor>(), scope: Effect.scope })
)

const app = (members: Record<string, MemberOptions>, options: SupervisionTree.Options = {}) => {
  const events: Array<string> = []
  const list = Object.entries(members).map(([id, it]) => member(id, events, it))
  const layer = Layer.provideMerge(nursery, chain(list.map((it) => it.layer))).pipe(
    SupervisionTree.layer({ name: "app", ...options })
  )
  const [first] = list
  if (first === undefined) throw new Error("a family has somebody")
  return { events, first, layer }
}

const startLater = (layer: Layer.Layer<Member, never, Supervised.CurrentSupervisor>) =>
  Effect.flatMap(Nursery, ({ context, scope }) =>
    Effect.exit(Layer.buildWithScope(Layer.provide(layer, Layer.succeedContext(context)), scope))
  )

const spec = (id: string): Machine.ChildSpec => ({ id, restart: "permanent", significant: false })

const machine = () => {
  const self = Machine.make({ strategy: "one_for_one", intensity: 3, period: 5000, autoShutdown: "never" })
  Machine.handle(self, { _tag: "Init", children: [spec("a")] }, 0)
  Machine.handle(self, { _tag: "Started" }, 0)
  return self
}

describe("starting a child of a name that is taken", () => {
  it.effect("20: is refused while that child runs, and nothing changes", () => {
    const { events, layer } = app({ a: {} })
    return Effect.gen(function* () {
      const exit = yield* startLater(member("a", []).layer)
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain('two children are called "a"')
      expect(yield* reply(SupervisionTree.start("app/a"))).toBe("running")
      expect([events, yield* statuses]).toEqual([["+a1"], ["a up #1"]])
      expect(Machine.handle(machine(), { _tag: "StartChild", child: spec("a") }, 0)).toEqual([
        { _tag: "Reply", reply: "already_started" }
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("21: is refused while that child is down, too", () => {
    const { layer } = app({ a: {} })
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/a")
      expect(Exit.isFailure(yield* startLater(member("a", []).layer))).toBe(true)
      expect(yield* statuses).toEqual(["a down #1"])
      const self = machine()
      Machine.handle(self, { _tag: "Terminate", id: "a" }, 0)
      expect(Machine.handle(self, { _tag: "StartChild", child: spec("a") }, 0)).toEqual([
        { _tag: "Reply", reply: "already_present" }
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("26: works once that child was removed; removing needs a child that is down", () => {
    const { events, layer } = app({ a: {} })
    return Effect.gen(function* () {
      expect(yield* reply(SupervisionTree.remove("app/a"))).toBe("running")
      yield* SupervisionTree.terminate("app/a")
      expect(yield* reply(SupervisionTree.remove("app/a"))).toBe("ok")
      expect(yield* reply(SupervisionTree.remove("app/a"))).toBe("not found")
      expect(yield* statuses).toEqual([])
      expect(Exit.isSuccess(yield* startLater(member("a", events).layer))).toBe(true)
      expect(yield* statuses).toEqual(["a up #1"])
    }).pipe(Effect.provide(layer))
  })
})

describe("an administration call", () => {
  it.effect("22: for an unknown child is not found; to a supervisor that has ended it is refused", () => {
    const { layer } = app({ a: {} })
    const calls = [SupervisionTree.start, SupervisionTree.terminate, SupervisionTree.restart, SupervisionTree.remove]
    return Effect.gen(function* () {
      yield* Effect.forEach(calls, (call) =>
        Effect.map(reply(call("app/nobody")), (answer) => expect(answer).toBe("not found"))
      ).pipe(Effect.provide(layer))
      const gone = yield* Effect.scoped(Layer.build(layer))
      yield* Effect.forEach(calls, (call) =>
        Effect.map(reply(call("app/a")), (answer) => expect(answer).toBe("closed"))
      ).pipe(Effect.provide(gone))
    })
  })

  it.effect("25: starts what is down as a new instance, and refuses what runs or is unknown", () => {
    const { events, layer } = app({ a: {} })
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/a")
      expect(yield* reply(SupervisionTree.start("app/a"))).toBe("ok")
      expect(yield* reply(SupervisionTree.start("app/a"))).toBe("running")
      expect(yield* reply(SupervisionTree.start("app/b"))).toBe("not found")
      expect([events, yield* statuses, yield* used]).toEqual([["+a1", "-a1", "+a2"], ["a up #2"], 0])
    }).pipe(Effect.provide(layer))
  })

  it.effect("28: goes to a child and not to one of its instances", () => {
    const { events, layer } = app({ a: {} })
    return Effect.gen(function* () {
      expect(yield* reply(SupervisionTree.terminate("app/a#1"))).toBe("not found")
      expect(yield* reply(SupervisionTree.terminate("app/1"))).toBe("not found")
      expect(events).toEqual(["+a1"])
    }).pipe(Effect.provide(layer))
  })
})

describe("the picture of a tree", () => {
  it.effect("29: names all children in start order: those that are up, down, or being restarted", () => {
    const { layer, of } = family({ intensity: 1_000_000 }, { up: {}, looping: {}, down: {} })
    return Effect.gen(function* () {
      of.looping.state.failNext = Number.POSITIVE_INFINITY
      yield* end(of.looping, "crash")
      yield* SupervisionTree.terminate("app/down")
      const { children } = yield* SupervisionTree.snapshot
      expect(children.map(({ id }) => id)).toEqual(["up", "looping", "down"])
      expect(children.map((it) => (it.status === "starting" ? "restarting" : it.status))).toEqual([
        "up",
        "restarting",
        "down"
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("30: tells children that are up from those that are not, and trees from workers", () => {
    const events: Array<string> = []
    const [a, b, c] = [member("a", events), member("b", events), member("c", events)]
    const layer = chain([
      a.layer,
      c.layer.pipe(SupervisionTree.layer(), Supervised.layer({ id: "inner" })),
      b.layer
    ]).pipe(SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/b")
      const { children } = yield* SupervisionTree.snapshot
      const supervisors = children.filter((it) => it.supervisor !== undefined).length
      expect({
        specs: children.length,
        active: children.filter((it) => it.status === "up").length,
        supervisors,
        workers: children.length - supervisors
      }).toEqual({ specs: 3, active: 2, supervisors: 1, workers: 2 })
    }).pipe(Effect.provide(layer))
  })
})

describe("a child whose restart keeps failing", () => {
  const looping = () => {
    const it = app({ a: {}, b: {} }, { intensity: Number.MAX_SAFE_INTEGER })
    const begin = Effect.suspend(() => {
      it.first.state.failNext = Number.POSITIVE_INFINITY
      return end(it.first, "crash")
    })
    return { ...it, begin }
  }

  it.effect("63: holds its name, refuses to be started or removed, and does not count as up", () => {
    const { begin, layer } = looping()
    return Effect.gen(function* () {
      yield* begin
      expect(Exit.isFailure(yield* startLater(member("a", []).layer))).toBe(true)
      expect(yield* reply(SupervisionTree.start("app/a"))).toBe("restarting")
      expect(yield* reply(SupervisionTree.remove("app/a"))).toBe("restarting")
      const up = (yield* SupervisionTree.snapshot).children.filter((it) => it.status === "up")
      expect(up.map(({ id }) => id)).toEqual(["b"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("64: is left down by terminate, and can be started when the cause is mended", () => {
    const { begin, events, first, layer } = looping()
    return Effect.gen(function* () {
      yield* begin
      expect(yield* reply(SupervisionTree.terminate("app/a"))).toBe("ok")
      const attempts = events.length
      yield* settle
      expect(events.length).toBe(attempts)
      expect((yield* SupervisionTree.snapshot).children).toMatchObject([
        { id: "a", status: "down" },
        { id: "b", status: "up" }
      ])
      first.state.failNext = 0
      expect(yield* reply(SupervisionTree.start("app/a"))).toBe("ok")
      expect(yield* Effect.flatMap(first.tag, (it) => it.instance)).toBe(2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("65: does not keep the supervisor from closing", () => {
    const { begin, events, layer } = looping()
    return Effect.gen(function* () {
      yield* Effect.provide(begin, layer)
      expect(events.at(-1)).toBe("-b1")
      expect(events.filter((event) => event.startsWith("+"))).toEqual(["+a1", "+b1"])
    })
  })
})
