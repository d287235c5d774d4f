import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, type Scope, Stream, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

interface Service {
  readonly ask: Effect.Effect<string>
}

const tagOf = (id: string) => Context.GenericTag<Service>(id)

/** A child that writes down its starts and stops, and runs `build` in its build. */
const child = (
  events: Array<string>,
  id: string,
  build: Effect.Effect<unknown, never, Service | Scope.Scope> = Effect.void,
  options: Supervised.ChildOptions = {}
) => {
  let instances = 0
  const bare = Layer.scoped(
    tagOf(id),
    Effect.gen(function* () {
      const n = ++instances
      yield* Effect.acquireRelease(note(events, `+${id}${n}`), () => note(events, `-${id}${n}`))
      yield* build
      return { ask: Effect.succeed(`${id}${n}`) }
    })
  )
  return Supervised.layer(bare, { id, ...options })
}

const note = (events: Array<string>, event: string) => Effect.sync(() => events.push(event))

const uses = (id: string) => Effect.flatMap(tagOf(id), (service) => service.ask)

/** Each sees the services of all before it. */
const tree = (
  layers: ReadonlyArray<Layer.Layer<Service, never, Service | Supervised.CurrentSupervisor>>,
  options: SupervisionTree.Options = {}
): Layer.Layer<Service | SupervisionTree.SupervisionTree> =>
  layers
    .reduce((below, layer) => Layer.provideMerge(layer, below))
    .pipe(SupervisionTree.layer({ name: "app", strategy: "rest_for_dependents", ...options })) as Layer.Layer<
    Service | SupervisionTree.SupervisionTree
  >

const crash = (path: string) => Effect.zipRight(TestSupervision.crash(path), TestClock.adjust("1 millis"))

const reads = Effect.map(SupervisionTree.snapshot, (node) =>
  Object.fromEntries(node.children.map((it) => [it.id, it.dependsOn]))
)

describe("rest_for_dependents", () => {
  it.effect("194: restarts the crashed child and its transitive readers, and no child that only could read it", () => {
    const events: Array<string> = []
    const layer = tree([
      child(events, "metrics"),
      child(events, "db"),
      child(events, "repo", uses("db")),
      child(events, "idle", tagOf("db")),
      child(events, "http", uses("repo"))
    ])
    return Effect.gen(function* () {
      expect(yield* reads).toEqual({ metrics: [], db: [], repo: ["db"], idle: [], http: ["repo"] })
      events.length = 0
      yield* crash("app/db")
      expect(events).toEqual(["-db1", "-http1", "-repo1", "+db2", "+repo2", "+http2"])
      expect((yield* SupervisionTree.snapshot).intensity.used).toBe(1)
      events.length = 0
      yield* crash("app/metrics")
      yield* crash("app/http")
      expect(events).toEqual(["-metrics1", "+metrics2", "-http2", "+http3"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("records a read when it happens, after the build as well, and from a worker", () => {
    const events: Array<string> = []
    const later = Layer.effect(
      tagOf("later"),
      Effect.map(tagOf("db"), (db) => ({ ask: Effect.suspend(() => db.ask) }))
    ).pipe(Supervised.layer({ id: "later" }))
    const worker = Effect.forkScoped(Effect.zipRight(Effect.sleep("1 second"), uses("db")))
    const layer = tree([child(events, "db"), later, child(events, "worker", worker)])
    return Effect.gen(function* () {
      expect(yield* reads).toMatchObject({ later: [], worker: [] })
      const service = yield* tagOf("later")
      expect(yield* service.ask).toBe("db1")
      expect(yield* reads).toMatchObject({ later: ["db"], worker: [] })
      yield* TestClock.adjust("1 second")
      expect(yield* reads).toMatchObject({ later: ["db"], worker: ["db"] })
    }).pipe(Effect.provide(layer))
  })

  it.effect("takes every way to use a service for a read: a function, an Effect, a Stream, Supervised.current", () => {
    const Fn = Context.GenericTag<() => Effect.Effect<number>>("Fn")
    const Eff = Context.GenericTag<Effect.Effect<number>>("Eff")
    const Str = Context.GenericTag<Stream.Stream<number>>("Str")
    const Cur = Context.GenericTag<Map<string, number>>("Cur")
    const users = {
      fn: Effect.flatMap(Fn, (fn) => fn()),
      eff: Effect.flatten(Eff),
      str: Effect.flatMap(Str, Stream.runDrain),
      cur: Supervised.current(Cur),
      none: Effect.zipRight(Fn, Effect.zipRight(Eff, Str))
    }
    const used = Layer.mergeAll(
      Supervised.layer(
        Layer.succeed(Fn, () => Effect.succeed(1)),
        { id: "Fn" }
      ),
      Supervised.layer(
        Layer.succeed(
          Eff,
          Effect.sync(() => 1)
        ),
        { id: "Eff" }
      ),
      Supervised.layer(Layer.succeed(Str, Stream.make(1)), { id: "Str" }),
      Supervised.layer(Layer.succeed(Cur, new Map()), { id: "Cur" })
    )
    const layer = Layer.mergeAll(
      Supervised.layer(Layer.effectDiscard(users.fn), { id: "fn" }),
      Supervised.layer(Layer.effectDiscard(users.eff), { id: "eff" }),
      Supervised.layer(Layer.effectDiscard(users.str), { id: "str" }),
      Supervised.layer(Layer.effectDiscard(users.cur), { id: "cur" }),
      Supervised.layer(Layer.effectDiscard(users.none), { id: "none" })
    ).pipe(Layer.provide(used), SupervisionTree.layer({ name: "app", strategy: "rest_for_dependents" }))
    return Effect.gen(function* () {
      expect(yield* reads).toMatchObject({ fn: ["Fn"], eff: ["Eff"], str: ["Str"], cur: ["Cur"], none: [] })
    }).pipe(Effect.provide(layer))
  })

  it.effect("sees through a layer between that is not supervised only with dependsOn", () => {
    const events: Array<string> = []
    const Pool = Context.GenericTag<Service>("Pool")
    const pool = Layer.effect(
      Pool,
      Effect.map(tagOf("db"), (db) => ({ ask: Effect.suspend(() => db.ask) }))
    )
    const app = (options: Supervised.ChildOptions) =>
      child(
        events,
        "http",
        Effect.flatMap(Pool, (it) => it.ask),
        options
      ).pipe(
        Layer.provide(pool),
        Layer.provide(child(events, "db")),
        // All services of this test are of one type, so nothing is left to be seen in it of what is provided already.
        SupervisionTree.layer({ name: "app", strategy: "rest_for_dependents" })
      ) as Layer.Layer<Service | SupervisionTree.SupervisionTree>
    return Effect.gen(function* () {
      yield* Effect.zipRight(crash("app/db"), reads).pipe(
        Effect.tap((found) => Effect.sync(() => expect(found).toEqual({ db: [], http: [] }))),
        Effect.provide(app({}))
      )
      expect(events).toEqual(["+db1", "+http1", "-db1", "+db2", "-http1", "-db2"])
      events.length = 0
      yield* Effect.provide(crash("app/db"), app({ dependsOn: [tagOf("db")] }))
      expect(events).toEqual(["+db1", "+http1", "-db1", "-http1", "+db2", "+http2", "-http2", "-db2"])
    })
  })

  it.effect("refuses to depend on what no child before provides", () => {
    const events: Array<string> = []
    const layer = tree([child(events, "db"), child(events, "http", Effect.void, { dependsOn: [tagOf("cache")] })])
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
        'supervisor "app": child "http": it depends on "cache", which no child started before it provides; put the supervised layer of "cache" beneath it (Layer.provide), or leave it out of dependsOn'
      )
      expect(events).toEqual(["+db1", "-db1"])
    })
  })

  it.effect("takes what is used in a nested tree for a use by the child that it is in", () => {
    const events: Array<string> = []
    const inner = tree([child(events, "a", uses("db")), child(events, "b", uses("a"))], { name: "inner" })
    const nested = inner.pipe(Supervised.layer({ id: "nested" })) as Layer.Layer<
      Service,
      never,
      Supervised.CurrentSupervisor
    >
    const layer = tree([child(events, "db"), nested, child(events, "c", uses("a"))])
    return Effect.gen(function* () {
      expect(SupervisionTree.render(yield* SupervisionTree.snapshot, { reads: true })).toBe(
        [
          "app rest_for_dependents, 0 of 3 restarts in 5 s",
          "├─ db up #1",
          "├─ nested up #1, reads db, rest_for_dependents, 0 of 3 restarts in 5 s",
          "│  ├─ a up #1",
          "│  └─ b up #1, reads a",
          "└─ c up #1, reads nested"
        ].join("\n")
      )
      events.length = 0
      yield* crash("app/db")
      expect(events).toEqual(["-db1", "-c1", "-b1", "-a1", "+db2", "+a2", "+b2", "+c2"])
    }).pipe(Effect.provide(layer))
  })

  it.effect(
    "takes what a child of a nested tree is said to depend on for a dependency of the child that it is in",
    () => {
      const events: Array<string> = []
      const inner = tree([child(events, "a", Effect.void, { dependsOn: [tagOf("db")] })], { name: "inner" })
      const nested = inner.pipe(Supervised.layer({ id: "nested" })) as Layer.Layer<
        Service,
        never,
        Supervised.CurrentSupervisor
      >
      return Effect.gen(function* () {
        expect(yield* reads).toEqual({ db: [], nested: ["db"] })
      }).pipe(Effect.provide(tree([child(events, "db"), nested])))
    }
  )

  it.effect(
    "starts a reader that was down with the group, and keeps one waiting whose own dependency cannot start",
    () => {
      const events: Array<string> = []
      let fails = 0
      const flaky = Effect.suspend(() => (fails-- > 0 ? Effect.die("no") : uses("db")))
      const layer = tree([
        child(events, "db"),
        child(events, "flaky", flaky),
        child(events, "over", uses("flaky")),
        child(events, "other", uses("db"))
      ])
      return Effect.gen(function* () {
        yield* SupervisionTree.terminate("app/other")
        events.length = 0
        fails = 1
        yield* crash("app/db")
        expect(events).toEqual([
          "-db1",
          "-over1",
          "-flaky1",
          "+db2",
          "+flaky2",
          "-flaky2",
          "+other2",
          "+flaky3",
          "+over2"
        ])
        expect((yield* SupervisionTree.snapshot).intensity.used).toBe(2)
      }).pipe(Effect.provide(layer))
    }
  )
})

describe("another strategy", () => {
  it.effect("shows what was declared, and does not look for more", () => {
    const events: Array<string> = []
    const layer = tree(
      [
        child(events, "db"),
        child(events, "http", uses("db")),
        child(events, "ui", uses("http"), { dependsOn: [tagOf("db")] })
      ],
      { strategy: "one_for_one" }
    )
    return Effect.gen(function* () {
      expect(yield* reads).toEqual({ db: [], http: [], ui: ["db"] })
    }).pipe(Effect.provide(layer))
  })
})
