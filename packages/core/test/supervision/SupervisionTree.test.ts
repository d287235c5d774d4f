import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Metric, Option, Stream, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

interface Service {
  readonly instance: Effect.Effect<number>
  readonly never: Effect.Effect<never>
}

/** A service `id` that writes down its starts and ends, and can be told to fail its next starts. */
const child = (id: string, events: Array<string>, options?: Supervised.ChildOptions) => {
  const tag = Context.GenericTag<Service>(id)
  let instances = 0
  const state = { failNext: 0 }
  const bare = Layer.scoped(
    tag,
    Effect.gen(function* () {
      if (state.failNext-- > 0) {
        events.push(`${id} fails`)
        return yield* Effect.die(`${id} cannot start`)
      }
      const instance = ++instances
      events.push(`+${id}${instance}`)
      yield* Effect.addFinalizer(() => Effect.sync(() => events.push(`-${id}${instance}`)))
      return { instance: Effect.succeed(instance), never: Effect.never }
    })
  )
  return { tag, bare, state, layer: Supervised.layer(bare, { id, ...options }) }
}

const crash = TestSupervision.crash
const awaitRestart = TestSupervision.awaitRestart
const restart = (path: string) => Effect.zipRight(crash(path), awaitRestart(path))

const abc = (options: SupervisionTree.Options = {}, children: Record<string, Supervised.ChildOptions> = {}) => {
  const events: Array<string> = []
  const [a, b, c] = [child("a", events, children.a), child("b", events, children.b), child("c", events, children.c)]
  const layer = c.layer.pipe(
    Layer.provideMerge(b.layer),
    Layer.provideMerge(a.layer),
    SupervisionTree.layer({ name: "app", ...options })
  )
  return { a, b, c, events, layer }
}

const statuses = Effect.map(SupervisionTree.snapshot, (node) =>
  node.children.map((it) => `${it.id} ${it.status} #${it.instance}`)
)

describe("SupervisionTree.layer", () => {
  it.effect("starts children in build order and stops them in exact reverse", () => {
    const { events, layer } = abc()
    return Effect.gen(function* () {
      yield* Effect.provide(statuses, layer)
      expect(events).toEqual(["+a1", "+b1", "+c1", "-c1", "-b1", "-a1"])
    })
  })

  it.effect("stops children one after the other although they were merged side by side", () => {
    const events: Array<string> = []
    const layer = Layer.mergeAll(
      ...(["a", "b", "c", "d"].map((id) => child(id, events).layer) as [ReturnType<typeof child>["layer"]])
    ).pipe(SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      yield* Effect.provide(statuses, layer)
      expect(events.slice(4)).toEqual(
        events
          .slice(0, 4)
          .map((event) => event.replace("+", "-"))
          .reverse()
      )
    })
  })

  it.effect("9, 10: stops what was started, in reverse, when a child cannot be built, and restarts nothing", () => {
    const { c, events, layer } = abc()
    c.state.failNext = 1
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.provide(statuses, layer))
      expect(Exit.isFailure(exit) && Option.getOrUndefined(Cause.dieOption(exit.cause))).toBe("c cannot start")
      expect(events).toEqual(["+a1", "+b1", "c fails", "-b1", "-a1"])
    })
  })

  it.effect("186: surfaces the typed error of a first start as the layer's", () =>
    Effect.gen(function* () {
      const layer = Layer.fail("no database" as const).pipe(Supervised.layer({ id: "db" }), SupervisionTree.layer())
      expect(yield* Effect.flip(Effect.scoped(Layer.build(layer)))).toBe("no database")
    })
  )

  it.effect("196: builds a supervised layer that is used twice once", () => {
    const events: Array<string> = []
    const a = child("a", events)
    const b = Layer.scopedDiscard(Effect.void).pipe(Layer.provide(a.layer))
    const layer = Layer.mergeAll(a.layer, b).pipe(SupervisionTree.layer())
    return Effect.gen(function* () {
      expect(yield* Effect.provide(statuses, layer)).toEqual(["a up #1"])
    })
  })

  it.effect("16, 196: refuses two children of one id", () => {
    const events: Array<string> = []
    const layer = Layer.mergeAll(child("a", events).layer, child("a", events).layer).pipe(SupervisionTree.layer())
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain('two children are called "a"')
    })
  })

  it.effect("14: names a child by what it provides when it is given no id", () => {
    const events: Array<string> = []
    const layer = child("Db", events).bare.pipe(
      Supervised.layer(),
      Layer.provideMerge(child("Log", events).layer),
      SupervisionTree.layer()
    )
    return Effect.gen(function* () {
      expect(yield* Effect.provide(statuses, layer)).toEqual(["Log up #1", "Db up #1"])
    })
  })

  it.effect("refuses numbers out of range", () =>
    Effect.gen(function* () {
      for (const options of [
        { intensity: -1 },
        { intensity: 1.5 },
        { intensity: Infinity },
        { period: 0 },
        { name: "" }
      ]) {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(SupervisionTree.layer(options)(Layer.empty))))
        expect(Exit.isFailure(exit) && Cause.pretty(exit.cause), JSON.stringify(options)).toContain("supervisor")
      }
    })
  )

  it.effect("closes an unsupervised layer after the child that uses it and before the child it uses", () => {
    const events: Array<string> = []
    const [db, http] = [child("db", events), child("http", events)]
    const pool = Layer.scopedDiscard(
      Effect.flatMap(db.tag, (service) =>
        Effect.addFinalizer(() => Effect.map(service.instance, (n) => events.push(`pool closes over db${n}`)))
      )
    )
    const layer = http.layer.pipe(Layer.provide(pool), Layer.provide(db.layer), SupervisionTree.layer())
    return Effect.gen(function* () {
      yield* Effect.provide(statuses, layer)
      expect(events).toEqual(["+db1", "+http1", "-http1", "pool closes over db1", "-db1"])
    })
  })
})

describe("strategies", () => {
  it.effect("53: one_for_one restarts the crashed child only", () => {
    const { events, layer } = abc()
    return Effect.gen(function* () {
      yield* restart("app/b")
      expect(yield* statuses).toEqual(["a up #1", "b up #2", "c up #1"])
      expect(events.slice(3)).toEqual(["-b1", "+b2"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("54: one_for_all stops the others in reverse and starts all in order", () => {
    const { events, layer } = abc({ strategy: "one_for_all" })
    return Effect.gen(function* () {
      yield* restart("app/b")
      yield* awaitUp("c", 2)
      expect(events.slice(3)).toEqual(["-b1", "-c1", "-a1", "+a2", "+b2", "+c2"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("55: rest_for_one restarts the crashed child and those after it", () => {
    const { events, layer } = abc({ strategy: "rest_for_one" })
    return Effect.gen(function* () {
      yield* restart("app/b")
      yield* awaitUp("c", 2)
      expect(events.slice(3)).toEqual(["-b1", "-c1", "+b2", "+c2"])
    }).pipe(Effect.provide(layer))
  })

  const awaitUp = (id: string, instance: number): Effect.Effect<void, never, SupervisionTree.SupervisionTree> =>
    Effect.flatMap(statuses, (all) =>
      all.includes(`${id} up #${instance}`) ? Effect.void : Effect.zipRight(Effect.yieldNow(), awaitUp(id, instance))
    )
})

describe("intensity", () => {
  it.effect("46, 193: survives crashes that are further apart than the period, for ever and in no real time", () => {
    const { layer } = abc({ intensity: 1, period: "5 seconds" })
    return Effect.gen(function* () {
      for (let n = 2; n <= 11; n++) {
        expect(yield* restart("app/a")).toBe(n)
        yield* TestClock.adjust("10 seconds")
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("49: still counts a restart exactly one period ago", () => {
    const { layer } = abc({ intensity: 1, period: "5 seconds" })
    return Effect.gen(function* () {
      yield* restart("app/a")
      yield* TestClock.adjust("5 seconds")
      yield* crash("app/a")
      expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({ childId: "a", restarts: 2 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("forgets a restart one millisecond after the period", () => {
    const { layer } = abc({ intensity: 1, period: "5 seconds" })
    return Effect.gen(function* () {
      yield* restart("app/a")
      yield* TestClock.adjust("5001 millis")
      expect(yield* restart("app/a")).toBe(3)
    }).pipe(Effect.provide(layer))
  })

  it.effect("48: of 0 ends the supervisor at the first crash", () => {
    const { events, layer } = abc({ intensity: 0 })
    return Effect.gen(function* () {
      yield* crash("app/b", "boom")
      const error = yield* Effect.flip(SupervisionTree.awaitShutdown)
      expect(error).toBeInstanceOf(SupervisorShutdown)
      expect(Option.getOrUndefined(Cause.dieOption(error.cause))).toBe("boom")
      expect(events.slice(3)).toEqual(["-b1", "-c1", "-a1"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("51: counts every attempt to restart a child that cannot start", () => {
    const survives = abc({ intensity: 3 })
    const dies = abc({ intensity: 2 })
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        survives.b.state.failNext = 2
        // The two that could not start had a number, too.
        expect(yield* restart("app/b")).toBe(4)
        expect((yield* SupervisionTree.snapshot).intensity.used).toBe(3)
      }).pipe(Effect.provide(survives.layer))
      yield* Effect.gen(function* () {
        dies.b.state.failNext = 2
        yield* crash("app/b")
        expect((yield* Effect.flip(SupervisionTree.awaitShutdown)).restarts).toBe(3)
      }).pipe(Effect.provide(dies.layer))
    })
  })
})

describe("restart types", () => {
  it.effect("a transient child is restarted after a crash, a temporary one is forgotten", () => {
    const { events, layer } = abc({}, { a: { restart: "transient" }, b: { restart: "temporary" } })
    return Effect.gen(function* () {
      yield* restart("app/a")
      yield* crash("app/b")
      yield* TestClock.adjust("1 second")
      expect(yield* statuses).toEqual(["a up #2", "c up #1"])
      expect(events.slice(3)).toEqual(["-a1", "+a2", "-b1"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("the end of a significant child ends the supervisor when it is told so", () => {
    const { layer } = abc({ autoShutdown: "anySignificant" }, { b: { restart: "temporary", significant: true } })
    return Effect.gen(function* () {
      yield* crash("app/b")
      expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({ reason: "significant", childId: "b" })
    }).pipe(Effect.provide(layer))
  })
})

describe("give-up", () => {
  it.effect("180: fails every call through a handle at once, also those in flight and those of siblings", () => {
    const { a, b, layer } = abc({ intensity: 0 })
    return Effect.gen(function* () {
      const [one, two] = [yield* a.tag, yield* b.tag]
      const waiting = yield* Effect.fork(two.never)
      yield* Effect.yieldNow()
      yield* crash("app/a")
      yield* Effect.flip(SupervisionTree.awaitShutdown)
      for (const call of [one.instance, two.instance, two.never]) {
        const exit = yield* Effect.exit(call)
        expect(Exit.isFailure(exit) && Option.getOrUndefined(Cause.dieOption(exit.cause))).toBeInstanceOf(
          SupervisorShutdown
        )
      }
      expect(Exit.isFailure(yield* Fiber.await(waiting))).toBe(true)
    }).pipe(Effect.provide(layer))
  })

  it.effect("198: is the failure of launch", () => {
    const { layer } = abc({ intensity: 0 })
    const crashing = Layer.effectDiscard(crash("app/a")).pipe(Layer.provideMerge(layer))
    return Effect.gen(function* () {
      expect(yield* Effect.flip(SupervisionTree.launch(crashing))).toMatchObject({
        _tag: "SupervisorShutdown",
        path: "app"
      })
    })
  })

  it.effect("198: interrupts a program under provide, and is its failure", () => {
    const { events, layer } = abc({ intensity: 0 })
    return Effect.gen(function* () {
      const program = Effect.zipRight(crash("app/a"), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => events.push("interrupted")))
      )
      expect(yield* Effect.flip(program.pipe(SupervisionTree.provide(layer)))).toBeInstanceOf(SupervisorShutdown)
      expect(events.slice(3)).toEqual(["-a1", "-c1", "-b1", "interrupted"])
    })
  })

  it.effect("does not happen to a program that ends by itself", () => {
    const { events, layer } = abc()
    return Effect.gen(function* () {
      expect(yield* statuses.pipe(SupervisionTree.provide(layer))).toHaveLength(3)
      expect(events.slice(3)).toEqual(["-c1", "-b1", "-a1"])
    })
  })
})

describe("nothing hangs", () => {
  it.effect("190: a finalizer that hangs costs its timeout, and is counted as orphaned", () => {
    const layer = Layer.scopedDiscard(Effect.addFinalizer(() => Effect.never)).pipe(
      Supervised.layer({ id: "stuck", shutdown: "3 seconds" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const program = Effect.gen(function* () {
        yield* restart("app/stuck")
        expect((yield* SupervisionTree.snapshot).children[0]).toMatchObject({ instance: 2, orphaned: 1 })
      })
      const fiber = yield* Effect.fork(Effect.provide(program, layer))
      yield* TestClock.adjust("3 seconds")
      yield* TestClock.adjust("2999 millis")
      expect(fiber.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
    })
  })

  it.effect("70: brutalKill does not wait for a finalizer at all", () => {
    const layer = Layer.scopedDiscard(Effect.addFinalizer(() => Effect.never)).pipe(
      Supervised.layer({ id: "stuck", shutdown: "brutalKill" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.provide(restart("app/stuck"), layer)
  })

  it.effect("a build that hangs is interrupted when the layer is", () => {
    const events: Array<string> = []
    const stuck = Layer.effectDiscard(
      Effect.onInterrupt(Effect.never, () => Effect.sync(() => events.push("interrupted")))
    )
    const a = child("a", events)
    const layer = Supervised.layer(stuck, { id: "stuck" }).pipe(Layer.provide(a.layer), SupervisionTree.layer())
    return Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.scoped(Layer.build(layer)))
      yield* Effect.yieldNow()
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      expect(events).toEqual(["+a1", "interrupted", "-a1"])
    })
  })

  it.effect("191: a restart whose build hangs does not keep the tree from closing", () => {
    let builds = 0
    const layer = Layer.effectDiscard(Effect.suspend(() => (builds++ === 0 ? Effect.void : Effect.never))).pipe(
      Supervised.layer({ id: "stuck" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      yield* Effect.provide(Effect.zipRight(crash("app/stuck"), TestClock.adjust("1 second")), layer)
      expect(builds).toBe(2)
    })
  })

  it.effect("192: a build that takes longer than startTimeout is a failed start", () => {
    const layer = Layer.effectDiscard(Effect.never).pipe(
      Supervised.layer({ id: "slow", startTimeout: "2 seconds" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.scoped(Layer.build(layer)))
      yield* TestClock.adjust("2 seconds")
      const exit = yield* Fiber.await(fiber)
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain('"app/slow" did not start within 2000 ms')
    })
  })

  it.effect("a worker forked in a build that ran in an uninterruptible region can be stopped", () => {
    const layer = Layer.scopedDiscard(Effect.forkScoped(Effect.never)).pipe(
      Supervised.layer({ id: "worker" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.uninterruptible(Effect.provide(restart("app/worker"), layer))
  })
})

describe("nested trees", () => {
  it.effect(
    "197: an inner give-up is one exit of the outer child, and the outer handles reach the next inner tree",
    () => {
      const events: Array<string> = []
      const [inner, other] = [child("inner", events), child("other", events)]
      const layer = inner.layer.pipe(
        SupervisionTree.layer({ name: "ingest", intensity: 0 }),
        Supervised.layer({ id: "ingest", shutdown: "infinity" }),
        Layer.provideMerge(other.layer),
        SupervisionTree.layer({ name: "app" })
      )
      return Effect.gen(function* () {
        const service = yield* inner.tag
        expect(SupervisionTree.render(yield* SupervisionTree.snapshot)).toBe(
          [
            "app one_for_one, 0 of 3 restarts in 5 s",
            "├─ other up #1",
            "└─ ingest up #1, one_for_one, 0 of 0 restarts in 5 s",
            "   └─ inner up #1"
          ].join("\n")
        )
        yield* crash("app/ingest/inner")
        expect(yield* awaitRestart("app/ingest")).toBe(2)
        expect(yield* service.instance).toBe(2)
        expect(events).toEqual(["+other1", "+inner1", "-inner1", "+inner2"])
        expect(yield* statuses).toEqual(["other up #1", "ingest up #2"])
      }).pipe(Effect.provide(layer))
    }
  )
})

describe("reports", () => {
  it.effect("199: logs every restart with cause, path, instance and decision", () => {
    const lines: Array<unknown> = []
    const logger = Logger.make(({ annotations, cause, logLevel, message }) => {
      lines.push([logLevel._tag, String(message), Object.fromEntries(annotations), Cause.pretty(cause).split("\n")[0]])
    })
    const { layer } = abc({ intensity: 1 })
    return Effect.gen(function* () {
      yield* crash("app/a", new Error("boom"))
      yield* awaitRestart("app/a")
      yield* crash("app/a", new Error("again"))
      yield* Effect.flip(SupervisionTree.awaitShutdown)
      expect(lines).toEqual([
        [
          "Warning",
          '"app/a" (instance 1) crashed: restarting it, 1 of 1 restarts in 5000 ms',
          { path: "app/a", instance: 1, decision: "restart" },
          "Error: boom"
        ],
        [
          "Fatal",
          '"app/a" (instance 2) crashed: giving up, 2 of 1 restarts in 5000 ms',
          { path: "app/a", instance: 2, decision: "give up" },
          "Error: again"
        ]
      ])
    }).pipe(Effect.provide(layer), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })

  it.effect("200: counts restarts by path", () => {
    const { layer } = abc({ name: "counted" })
    const count = Effect.map(Metric.snapshot, (pairs) =>
      pairs.flatMap(({ metricKey, metricState }) =>
        metricKey.name === "effecto_supervision_restarts" && metricKey.tags.some(({ value }) => value === "counted/b")
          ? [metricState]
          : []
      )
    )
    return Effect.gen(function* () {
      yield* restart("counted/b")
      yield* restart("counted/b")
      expect(yield* count).toMatchObject([{ count: 2 }])
    }).pipe(Effect.provide(layer))
  })

  it.effect("streams events", () => {
    const { layer } = abc()
    return Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const fiber = yield* SupervisionTree.events.pipe(
        Stream.onStart(Deferred.succeed(started, undefined)),
        Stream.take(3),
        Stream.runCollect,
        Effect.fork
      )
      yield* Deferred.await(started)
      yield* Effect.yieldNow()
      yield* restart("app/a")
      const events = Array.from(yield* Fiber.join(fiber), (event) => event._tag)
      expect(events).toEqual(["Exited", "Stopped", "Started"])
    }).pipe(Effect.provide(layer))
  })
})

describe("the services of a tree, and those of a child's build", () => {
  it.effect("can be printed", () => {
    const printed: Array<string> = []
    const print = Effect.contextWith((context: Context.Context<never>) => printed.push(String(context)))
    const child = Layer.effectDiscard(print).pipe(Supervised.layer({ id: "child" }))
    const layer = Layer.provideMerge(Layer.effectDiscard(print), child).pipe(SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      yield* print
      expect(printed).toHaveLength(3)
      expect(printed[0]).toContain("app/child")
      expect(printed[1]).toContain("Supervisor")
    }).pipe(Effect.provide(layer))
  })
})
