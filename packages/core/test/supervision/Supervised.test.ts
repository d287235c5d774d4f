import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Effectable,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  Ref,
  Stream,
  TestClock
} from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown, InstanceDied } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

class Counter extends Context.Tag("Counter")<
  Counter,
  {
    readonly instance: number
    readonly next: Effect.Effect<number>
    readonly add: (n: number) => Effect.Effect<number>
    readonly never: Effect.Effect<never>
    readonly wait: (label: string) => Effect.Effect<string>
    readonly sum: (...ns: ReadonlyArray<number>) => number
    readonly option: (n: number) => Option.Option<number>
    readonly stream: Stream.Stream<number>
    readonly streamOf: (n: number) => Stream.Stream<number>
    readonly nested: { readonly next: Effect.Effect<number> }
  }
>() {}

/** A counter whose state begins anew with each instance; every start and end is written down. */
const counter = (events: Array<string> = []) => {
  let instances = 0
  return Layer.scoped(
    Counter,
    Effect.gen(function* () {
      const instance = ++instances
      events.push(`start ${instance}`)
      yield* Effect.addFinalizer(() => Effect.sync(() => events.push(`stop ${instance}`)))
      const ref = yield* Ref.make(0)
      const next = Ref.updateAndGet(ref, (n) => n + 1)
      return {
        instance,
        next,
        add: (n: number) => Ref.updateAndGet(ref, (m) => m + n),
        never: Effect.never,
        wait: (label: string) => Effect.as(Effect.sleep("1 minute"), `${label} ${instance}`),
        sum: (...ns: ReadonlyArray<number>) => ns.reduce((a, b) => a + b, 0),
        option: (n: number) => Option.some(n),
        stream: Stream.fromEffect(next),
        streamOf: (n: number) => Stream.make(n, instance),
        nested: { next }
      }
    })
  )
}

const app = (options?: Supervised.ChildOptions, events?: Array<string>) =>
  counter(events).pipe(Supervised.layer({ id: "counter", ...options }), SupervisionTree.layer({ name: "app" }))

const restart = Effect.zipRight(TestSupervision.crash("app/counter"), TestSupervision.awaitRestart("app/counter"))

const defectOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : undefined

describe("a handle", () => {
  it.scoped("176: taken before a crash answers from the new instance after it", () =>
    Effect.gen(function* () {
      const handle = yield* Counter
      expect(yield* handle.next).toBe(1)
      expect(yield* handle.add(4)).toBe(5)
      yield* restart
      expect(yield* handle.next).toBe(1)
      expect(handle.instance).toBe(2)
    }).pipe(Effect.provide(app()))
  )

  it.scoped("177: answers from the new instance through unsupervised layers that captured it", () => {
    class Outer extends Context.Tag("Outer")<Outer, Effect.Effect<number>>() {}
    const outer = Layer.effect(
      Outer,
      Effect.map(Counter, ({ next }) => next)
    )
    return Effect.gen(function* () {
      const next = yield* Outer
      expect(yield* next).toBe(1)
      yield* restart
      expect(yield* next).toBe(1)
    }).pipe(Effect.provide(outer.pipe(Layer.provideMerge(app()))))
  })

  it.scoped("keeps an Effect that was taken from it usable, and asks the next instance for it", () =>
    Effect.gen(function* () {
      const handle = yield* Counter
      const add = handle.add(10)
      expect(yield* add).toBe(10)
      yield* restart
      expect(yield* add).toBe(10)
      expect(yield* add).toBe(20)
    }).pipe(Effect.provide(app()))
  )

  it.scoped("passes plain values, Options, Streams and nested objects on", () =>
    Effect.gen(function* () {
      const handle = yield* Counter
      for (const instance of [1, 2]) {
        expect(handle.instance).toBe(instance)
        expect(handle.sum(1, 2, 3)).toBe(6)
        expect(handle.option(3)).toStrictEqual(Option.some(3))
        expect(yield* Stream.runCollect(handle.streamOf(7)).pipe(Effect.map(Array.from))).toEqual([7, instance])
        expect(yield* Stream.runCollect(handle.stream).pipe(Effect.map(Array.from))).toEqual([1])
        expect(yield* handle.nested.next).toBe(2)
        if (instance === 1) yield* restart
      }
    }).pipe(Effect.provide(app()))
  )

  it.scoped("keeps the methods of a class instance with private fields working", () => {
    class Account {
      #balance = 0
      deposit(n: number) {
        return Effect.sync(() => (this.#balance += n))
      }
      get balance() {
        return this.#balance
      }
    }
    const Tag = Context.GenericTag<Account>("Account")
    const layer = Layer.sync(Tag, () => new Account()).pipe(
      Supervised.layer({ id: "account" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const account = yield* Tag
      const { deposit } = account
      expect(yield* account.deposit(3)).toBe(3)
      expect(yield* deposit(4)).toBe(7)
      expect(account.balance).toBe(7)
      expect(account).toBeInstanceOf(Account)
      yield* TestSupervision.crash("app/account")
      yield* TestSupervision.awaitRestart("app/account")
      expect(yield* account.deposit(1)).toBe(1)
    }).pipe(Effect.provide(layer))
  })

  it.scoped("carries a service that is a function with members", () => {
    interface Client {
      (text: string): Effect.Effect<string>
      readonly name: string
      readonly end: Effect.Effect<string>
    }
    const Tag = Context.GenericTag<Client>("Client")
    const make = () =>
      Object.defineProperty(
        Object.assign((text: string) => Effect.sync(() => text.toUpperCase()), { end: Effect.sync(() => "end") }),
        "name",
        { value: "client" }
      )
    const layer = Layer.sync(Tag, make).pipe(Supervised.layer({ id: "client" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const client = yield* Tag
      expect(yield* client("a")).toBe("A")
      expect(client.name).toBe("client")
      expect(yield* client.end).toBe("end")
    }).pipe(Effect.provide(layer))
  })

  it.scoped("leaves an Effect of a class of its own what it is, and lets its iterator answer by itself", () => {
    const events: Array<string> = []
    /** An Effect as a cache or an SQL client makes them: with methods, private fields, and an answer that may be at hand. */
    class Query extends Effectable.Class<string> {
      readonly #text: string
      constructor(
        text: string,
        readonly hit: boolean
      ) {
        super()
        this.#text = text
      }
      get upper() {
        return this.#text.toUpperCase()
      }
      explain() {
        return `explain ${this.#text}`
      }
      override commit() {
        events.push(`run ${this.#text}`)
        return this.#text === "never" ? Effect.never : Effect.as(Effect.yieldNow(), this.#text)
      }
      override [Symbol.iterator](): Effect.EffectGenerator<Query> {
        if (!this.hit) return super[Symbol.iterator]() as never
        return { next: () => ({ done: true, value: `hit ${this.#text}` }) } as never
      }
    }
    const Tag = Context.GenericTag<{ readonly query: (text: string, hit?: boolean) => Query }>("Client")
    const layer = Layer.succeed(Tag, { query: (text, hit = false) => new Query(text, hit) }).pipe(
      Supervised.layer({ id: "client" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const client = yield* Tag
      const query = client.query("a")
      expect(query).toBeInstanceOf(Query)
      expect([query.upper, query.explain()]).toEqual(["A", "explain a"])
      expect(yield* query).toBe("a")
      expect(yield* query.pipe(Effect.map((text) => text.length))).toBe(1)
      expect(yield* client.query("b", true)).toBe("hit b")
      expect(events).toEqual(["run a", "run a"])
      const waiting = yield* Effect.fork(client.query("never"))
      const iterating = yield* Effect.fork(
        Effect.gen(function* () {
          return yield* client.query("never")
        })
      )
      yield* Effect.yieldNow()
      yield* TestSupervision.crash("app/client")
      expect(defectOf(yield* Fiber.await(waiting))).toBeInstanceOf(InstanceDied)
      expect(defectOf(yield* Fiber.await(iterating))).toBeInstanceOf(InstanceDied)
      expect(yield* query).toBe("a")
    }).pipe(Effect.provide(layer))
  })

  it.scoped("178: dies with InstanceDied for a call in flight, and does not repeat it on the next instance", () =>
    Effect.gen(function* () {
      const handle = yield* Counter
      const waiting = yield* Effect.fork(handle.wait("a"))
      const never = yield* Effect.fork(handle.never)
      yield* Effect.yieldNow()
      yield* restart
      yield* TestClock.adjust("2 minutes")
      for (const fiber of [waiting, never]) {
        const defect = defectOf(yield* Fiber.await(fiber))
        expect(defect).toBeInstanceOf(InstanceDied)
        expect(defect).toMatchObject({ path: "app/counter", instance: 1 })
      }
    }).pipe(Effect.provide(app()))
  )

  it.scoped("fails a Stream that its instance left unfinished", () => {
    const Tag = Context.GenericTag<{ readonly all: Stream.Stream<number> }>("Numbers")
    const layer = Layer.succeed(Tag, { all: Stream.concat(Stream.make(1), Stream.never) }).pipe(
      Supervised.layer({ id: "numbers" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const numbers = yield* Tag
      const got: Array<number> = []
      const first = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        Stream.runForEach(numbers.all, (n) =>
          Effect.zipRight(
            Effect.sync(() => got.push(n)),
            Deferred.succeed(first, undefined)
          )
        )
      )
      yield* Deferred.await(first)
      yield* TestSupervision.crash("app/numbers")
      expect(defectOf(yield* Fiber.await(fiber))).toBeInstanceOf(InstanceDied)
      expect(got).toEqual([1])
    }).pipe(Effect.provide(layer))
  })

  it.scoped("181: leaves what a method forks to the caller, with its FiberRefs", () => {
    const Tag = Context.GenericTag<{ readonly fork: Effect.Effect<Fiber.RuntimeFiber<string>> }>("Forker")
    const layer = Layer.succeed(Tag, {
      fork: Effect.gen(function* () {
        yield* Effect.sleep("1 second")
        const fiber = yield* Effect.fork(Effect.as(Effect.sleep("1 minute"), "done"))
        return fiber
      })
    }).pipe(Supervised.layer({ id: "forker" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const forker = yield* Tag
      const caller = yield* Effect.fork(Effect.flatMap(forker.fork, Fiber.join))
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(caller)).toBe("done")
      const inner = yield* Deferred.make<Fiber.RuntimeFiber<string>>()
      const second = yield* Effect.fork(
        Effect.flatMap(forker.fork, (fiber) => Effect.zipRight(Deferred.succeed(inner, fiber), Effect.never))
      )
      yield* TestClock.adjust("1 second")
      const orphan = yield* Deferred.await(inner)
      yield* Fiber.interrupt(second)
      expect(Exit.isInterrupted(yield* Fiber.await(orphan))).toBe(true)
    }).pipe(Effect.provide(layer))
  })

  it.scoped("181: lets an interrupted caller interrupt the call", () => {
    const events: Array<string> = []
    const Tag = Context.GenericTag<{ readonly run: Effect.Effect<void> }>("Runner")
    const layer = Layer.succeed(Tag, {
      run: Effect.onInterrupt(Effect.never, () => Effect.sync(() => events.push("interrupted")))
    }).pipe(Supervised.layer({ id: "runner" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const runner = yield* Tag
      const caller = yield* Effect.fork(runner.run)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(caller)
      expect(events).toEqual(["interrupted"])
    }).pipe(Effect.provide(layer))
  })
})

describe("whenDown", () => {
  /** A child whose second build takes a minute. */
  const slow = (options: Supervised.ChildOptions) => {
    let builds = 0
    const fast = counter()
    return Layer.unwrapEffect(
      Effect.suspend(() => Effect.as(Effect.sleep(builds++ === 0 ? "0 millis" : "1 minute"), fast))
    ).pipe(Supervised.layer({ id: "counter", ...options }), SupervisionTree.layer({ name: "app" }))
  }
  const ready = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Layer.build(layer))
      yield* TestClock.adjust("1 millis")
      return yield* Fiber.join(fiber)
    })

  it.scoped("179: waits five seconds by default, and then dies with ChildDown", () =>
    Effect.gen(function* () {
      const context = yield* ready(slow({}))
      const handle = Context.get(context, Counter)
      yield* Effect.provide(TestSupervision.crash("app/counter"), context)
      const call = yield* Effect.fork(handle.next)
      yield* TestClock.adjust("4999 millis")
      expect(call.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      const defect = defectOf(yield* Fiber.await(call))
      expect(defect).toBeInstanceOf(ChildDown)
      expect(defect).toMatchObject({ path: "app/counter", waited: 5000 })
    })
  )

  it.scoped("times out a caller in an uninterruptible region as well", () =>
    Effect.gen(function* () {
      const context = yield* ready(slow({ whenDown: { await: "2 seconds" } }))
      const handle = Context.get(context, Counter)
      yield* Effect.provide(TestSupervision.crash("app/counter"), context)
      const call = yield* Effect.fork(Effect.uninterruptible(handle.add(1)))
      yield* TestClock.adjust("2 seconds")
      expect(defectOf(yield* Fiber.await(call))).toBeInstanceOf(ChildDown)
    })
  )

  it.scoped("answers from the next instance when that is up in time", () =>
    Effect.gen(function* () {
      const context = yield* ready(slow({ whenDown: { await: "2 minutes" } }))
      const handle = Context.get(context, Counter)
      yield* Effect.provide(TestSupervision.crash("app/counter"), context)
      const call = yield* Effect.fork(handle.add(7))
      const stream = yield* Effect.fork(Stream.runCollect(handle.streamOf(3)))
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(call)).toBe(7)
      expect(Array.from(yield* Fiber.join(stream))).toEqual([3, 2])
    })
  )

  it.scoped("179: fails at once when told to", () =>
    Effect.gen(function* () {
      const context = yield* ready(slow({ whenDown: "fail" }))
      const handle = Context.get(context, Counter)
      yield* Effect.provide(TestSupervision.crash("app/counter"), context)
      expect(defectOf(yield* Effect.exit(handle.next))).toBeInstanceOf(ChildDown)
    })
  )

  it.scoped("throws from a function that answered with a plain value before, since a value cannot wait", () =>
    Effect.gen(function* () {
      const context = yield* ready(slow({}))
      const handle = Context.get(context, Counter)
      expect(handle.sum(1, 2)).toBe(3)
      yield* Effect.provide(TestSupervision.crash("app/counter"), context)
      expect(() => handle.sum(1, 2)).toThrow(ChildDown)
    })
  )
})

describe("linking", () => {
  const Tag = Context.GenericTag<{ readonly boom: Effect.Effect<void>; readonly instance: number }>("Worker")

  /** A service with a worker that fails when told to; `fork` says how it is forked. */
  const worker = (fork: (worker: Effect.Effect<void>) => Effect.Effect<unknown, never, never>) => {
    let instances = 0
    return Layer.effect(
      Tag,
      Effect.gen(function* () {
        const mailbox = yield* Queue.unbounded<void>()
        const instance = ++instances
        yield* fork(Effect.zipRight(Queue.take(mailbox), Effect.die("boom")))
        return { boom: Effect.asVoid(Queue.offer(mailbox, undefined)), instance }
      })
    )
  }
  const supervised = (layer: Layer.Layer<{ readonly boom: Effect.Effect<void>; readonly instance: number }>) =>
    layer.pipe(Supervised.layer({ id: "worker" }), SupervisionTree.layer({ name: "app" }))

  const restarts = Effect.gen(function* () {
    const service = yield* Tag
    yield* service.boom
    expect(yield* TestSupervision.awaitRestart("app/worker")).toBe(2)
    expect(service.instance).toBe(2)
  })

  it.scoped("182: notices the death of a fiber forked with forkDaemon", () =>
    Effect.provide(restarts, supervised(worker(Effect.forkDaemon)))
  )

  it.scoped("182: notices the death of a fiber forked with forkScoped", () =>
    Effect.provide(
      restarts,
      supervised(
        Layer.scoped(
          Tag,
          Effect.gen(function* () {
            const deferred = yield* Deferred.make<void>()
            const instance = yield* next
            yield* Effect.forkScoped(Effect.zipRight(Deferred.await(deferred), Effect.fail("boom")))
            return { boom: Effect.asVoid(Deferred.succeed(deferred, undefined)), instance }
          })
        )
      )
    )
  )
  let count = 0
  const next = Effect.sync(() => ++count)

  it.scoped("182: notices it in a layer that is built inside Layer.mergeAll", () =>
    Effect.provide(
      restarts,
      supervised(Layer.mergeAll(Layer.scopedDiscard(Effect.void), worker(Effect.forkDaemon), Layer.empty))
    )
  )

  it.scoped("does not mistake a forked helper that ends well for an exit", () =>
    Effect.gen(function* () {
      const service = yield* Tag
      yield* service.boom
      yield* TestClock.adjust("1 second")
      expect((yield* SupervisionTree.snapshot).children[0]).toMatchObject({ status: "up", instance: 1, restarts: 0 })
    }).pipe(Effect.provide(supervised(worker((effect) => Effect.forkDaemon(Effect.ignore(Effect.sandbox(effect)))))))
  )

  it.scoped("183: leaves the failure of a grandchild to the fiber that handles it", () =>
    Effect.gen(function* () {
      const service = yield* Tag
      yield* service.boom
      yield* TestClock.adjust("1 second")
      expect((yield* SupervisionTree.snapshot).children[0]).toMatchObject({ status: "up", instance: 1, restarts: 0 })
    }).pipe(
      Effect.provide(
        supervised(
          worker((effect) =>
            Effect.forkDaemon(Effect.zipRight(Effect.flatMap(Effect.fork(effect), Fiber.await), Effect.never))
          )
        )
      )
    )
  )

  it.scoped("185: leaves an unlinked fiber out", () =>
    Effect.gen(function* () {
      const service = yield* Tag
      yield* service.boom
      yield* TestClock.adjust("1 second")
      expect((yield* SupervisionTree.snapshot).children[0]).toMatchObject({ status: "up", instance: 1, restarts: 0 })
    }).pipe(Effect.provide(supervised(worker((effect) => Supervised.unlinked(Effect.forkDaemon(effect))))))
  )

  it.scoped(
    "ends the other fibers of an instance that crashed, and closes its scope, before the next one starts",
    () => {
      const events: Array<string> = []
      const layer = counter(events).pipe(
        Layer.tap(() =>
          Effect.forkDaemon(Effect.onExit(Effect.never, () => Effect.sync(() => events.push("worker ends"))))
        ),
        Supervised.layer({ id: "counter" }),
        SupervisionTree.layer({ name: "app" })
      )
      return Effect.gen(function* () {
        yield* Effect.yieldNow()
        yield* restart
        expect(events).toEqual(["start 1", "stop 1", "worker ends", "start 2"])
      }).pipe(Effect.provide(layer))
    }
  )
})

describe("a build that fails", () => {
  it.effect("leaves no fiber behind, not even one it forked as a daemon", () => {
    const events: Array<string> = []
    const worker = Effect.onExit(Effect.never, () => Effect.sync(() => events.push("worker ends")))
    const layer = Layer.effectDiscard(
      Effect.zipRight(Effect.forkDaemon(worker), Effect.zipRight(Effect.yieldNow(), Effect.fail("no")))
    ).pipe(Supervised.layer({ id: "failing" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      expect(yield* Effect.flip(Effect.scoped(Layer.build(layer)))).toBe("no")
      expect(events).toEqual(["worker ends"])
    })
  })
})

describe("Supervised.current", () => {
  it.scoped("answers with the service itself, of the current instance", () => {
    const Tag = Context.GenericTag<Ref.Ref<number>>("TheRef")
    const layer = Layer.effect(Tag, Ref.make(0)).pipe(
      Supervised.layer({ id: "ref" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      yield* Ref.set(yield* Supervised.current(Tag), 5)
      expect(yield* Effect.flatMap(Supervised.current(Tag), Ref.get)).toBe(5)
      yield* TestSupervision.crash("app/ref")
      expect(yield* Effect.flatMap(Supervised.current(Tag), Ref.get)).toBe(0)
      expect(
        yield* Effect.provideService(Supervised.current(Tag), Tag, yield* Ref.make(9)).pipe(Effect.flatMap(Ref.get))
      ).toBe(9)
    }).pipe(Effect.provide(layer))
  })

  it.scoped("finds what a tree inside of a child provides, after a restart in there as well", () => {
    const Tag = Context.GenericTag<Ref.Ref<number>>("TheRef")
    let instances = 0
    const layer = Layer.effect(
      Tag,
      Effect.suspend(() => Ref.make(++instances))
    ).pipe(
      Supervised.layer({ id: "ref" }),
      SupervisionTree.layer(),
      Supervised.layer({ id: "inner" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      expect(yield* Effect.flatMap(Supervised.current(Tag), Ref.get)).toBe(1)
      yield* TestSupervision.crash("app/inner/ref")
      expect(yield* Effect.flatMap(Supervised.current(Tag), Ref.get)).toBe(2)
      yield* TestSupervision.crash("app/inner")
      expect(yield* Effect.flatMap(Supervised.current(Tag), Ref.get)).toBe(3)
    }).pipe(Effect.provide(layer))
  })
})
