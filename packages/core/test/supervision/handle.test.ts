import { describe, expect, it, vi } from "@effect/vitest"
import {
  Cause,
  Context,
  Data,
  Deferred,
  Effect,
  Effectable,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Ref,
  Stream
} from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown, InstanceDied, SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

/** A child whose service is made by `make`, from the number of its instance; all but the first wait for the gate, if any. */
const child = <I, S>(
  tag: Context.Tag<I, S>,
  make: (instance: number) => S,
  options: Supervised.ChildOptions & { readonly gate?: Deferred.Deferred<void>; readonly intensity?: number } = {}
) => {
  let instances = 0
  const { gate, intensity = 3, ...rest } = options
  return Layer.effect(
    tag,
    Effect.suspend(() => {
      const instance = ++instances
      const service = Effect.sync(() => make(instance))
      return instance > 1 && gate !== undefined ? Effect.zipRight(Deferred.await(gate), service) : service
    })
  ).pipe(Supervised.layer({ id: "it", ...rest }), SupervisionTree.layer({ name: "app", intensity }))
}

const crash = TestSupervision.crash("app/it")
const restart = Effect.zipRight(crash, TestSupervision.awaitRestart("app/it"))
const gate = Deferred.make<void>()

const defectOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : undefined

describe("a function that a method returns", () => {
  interface Evicting {
    readonly evicting: (key: string) => <A>(self: Effect.Effect<A>) => Effect.Effect<A>
  }
  const Tag = Context.GenericTag<Evicting>("Evicting")
  const service = (events: Array<string>) => (instance: number) => ({
    evicting:
      (key: string) =>
      <A>(self: Effect.Effect<A>) =>
        Effect.tap(self, () => Effect.sync(() => events.push(`evict ${key} from ${instance}`)))
  })
  const writing = (events: Array<string>) => Effect.sync(() => events.push("write"))

  it.scoped("finds the current instance each time, also in a pipeline built before a restart", () => {
    const events: Array<string> = []
    return Effect.gen(function* () {
      const it = yield* Tag
      const evicting = it.evicting("k")
      const write = writing(events).pipe(evicting)
      yield* write
      yield* restart
      yield* write
      yield* writing(events).pipe(evicting)
      expect(events).toEqual(["write", "evict k from 1", "write", "evict k from 2", "write", "evict k from 2"])
    }).pipe(Effect.provide(child(Tag, service(events))))
  })

  it.scoped("leaves work of its caller alone when its instance dies, if that is detached", () => {
    const events: Array<string> = []
    const wrapping = (instance: number) => ({
      evicting: (key: string) =>
        function <A>(self: Effect.Effect<A>) {
          return Supervised.detach(
            Effect.tap(self, () => Effect.sync(() => events.push(`evict ${key} from ${instance}`)))
          )
        }
    })
    return Effect.gen(function* () {
      const it = yield* Tag
      const gate = yield* Deferred.make<void>()
      const writer = yield* Effect.fork(Effect.andThen(Deferred.await(gate), writing(events)).pipe(it.evicting("k")))
      yield* Effect.yieldNow()
      yield* restart
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(writer)
      yield* writing(events).pipe(it.evicting("k"))
      expect(events).toEqual(["write", "evict k from 1", "write", "evict k from 2"])
    }).pipe(Effect.provide(child(Tag, wrapping)))
  })

  for (const known of [true, false]) {
    it.scoped(`waits while the child is down, ${known ? "when it was called before" : "when it never was"}`, () =>
      Effect.gen(function* () {
        const events: Array<string> = []
        const up = yield* gate
        yield* Effect.gen(function* () {
          const it = yield* Tag
          if (known) yield* Effect.void.pipe(it.evicting("a"))
          yield* crash
          const write = yield* Effect.fork(writing(events).pipe(it.evicting("k")))
          yield* Effect.yieldNow()
          expect(events).toEqual(known ? ["evict a from 1"] : [])
          yield* Deferred.succeed(up, undefined)
          yield* Fiber.join(write)
          expect(events.slice(-2)).toEqual(["write", "evict k from 2"])
        }).pipe(Effect.provide(child(Tag, service(events), { gate: up })))
      })
    )
  }

  it.scoped("runs what is given to it once, and not again when its instance dies", () => {
    const events: Array<string> = []
    return Effect.gen(function* () {
      const it = yield* Tag
      const write = yield* Effect.fork(Effect.zipRight(writing(events), Effect.never).pipe(it.evicting("k")))
      yield* Effect.yieldNow()
      yield* restart
      expect(defectOf(yield* Fiber.await(write))).toBeInstanceOf(InstanceDied)
      expect(events).toEqual(["write"])
    }).pipe(Effect.provide(child(Tag, service(events))))
  })
})

describe("a service", () => {
  interface Asked {
    readonly ask: Effect.Effect<number>
  }
  const answers = (service: (instance: number) => Asked) => {
    const Tag = Context.GenericTag<Asked>("Asked")
    return Effect.gen(function* () {
      const it = yield* Tag
      expect(yield* it.ask).toBe(1)
      yield* restart
      expect(yield* it.ask).toBe(2)
    }).pipe(Effect.provide(child(Tag, service)))
  }

  it.scoped("may be an instance of Data.Class", () =>
    answers(
      (n) =>
        new (class extends Data.Class<{ readonly n: number }> {
          get ask() {
            return Effect.sync(() => this.n)
          }
        })({ n })
    )
  )

  it.scoped("may have a TypeId, as those of @effect/platform have", () =>
    answers((n) => ({ [Symbol.for("@effect/platform/KeyValueStore")]: true, ask: Effect.sync(() => n) }))
  )

  it.scoped("may be an Effect, of a class of its own with members as well", () => {
    class Question extends Effectable.Class<number> {
      constructor(readonly n: number) {
        super()
      }
      get ask() {
        return Effect.succeed(this.n)
      }
      override commit() {
        return Effect.sync(() => this.n)
      }
    }
    const Plain = Context.GenericTag<Effect.Effect<number>>("Plain")
    const Own = Context.GenericTag<Question>("Own")
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const it = yield* Plain
        expect(yield* it).toBe(1)
        yield* restart
        expect(yield* it).toBe(2)
      }).pipe(Effect.provide(child(Plain, (n) => Effect.succeed(n))))
      yield* Effect.gen(function* () {
        const it = yield* Own
        expect([yield* it, yield* it.ask, it.n]).toEqual([1, 1, 1])
        const piped = it.pipe(Effect.map((n) => n * 10))
        yield* restart
        expect([yield* it, yield* it.ask, it.n, yield* piped]).toEqual([2, 2, 2, 20])
        expect(it).toBeInstanceOf(Question)
      }).pipe(Effect.provide(child(Own, (n) => new Question(n))))
    })
  })

  it.scoped("may be a Stream", () => {
    const Tag = Context.GenericTag<Stream.Stream<number>>("Numbers")
    return Effect.gen(function* () {
      const it = yield* Tag
      expect(Array.from(yield* Stream.runCollect(it))).toEqual([1])
      yield* restart
      expect(Array.from(yield* Stream.runCollect(it))).toEqual([2])
    }).pipe(Effect.provide(child(Tag, (n) => Stream.make(n))))
  })

  it.scoped("is warned of once, by its key, if it cannot be carried", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => lines.push(`${logLevel.label} ${String(message)}`))
    const Tag = Context.GenericTag<Ref.Ref<number>>("TheRef")
    return Effect.gen(function* () {
      yield* restart
      const warnings = lines.filter((line) => line.includes("TheRef"))
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toContain("WARN")
      expect(warnings[0]).toContain("Supervised.current")
    }).pipe(
      Effect.provide(child(Tag, (n) => Ref.unsafeMake(n))),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
  })
})

describe("a member of a service", () => {
  it.scoped("is what the service has now, whatever it was when it was first read", () => {
    interface Mutable {
      session: { readonly user: string } | null
      data: object
      f: (() => number) | undefined
      g: () => number
    }
    const Tag = Context.GenericTag<{ readonly state: Mutable; readonly set: (to: Partial<Mutable>) => void }>("Mutable")
    const make = () => {
      const state: Mutable = { session: { user: "ada" }, data: {}, f: () => 1, g: () => 1 }
      return { state, set: (to: Partial<Mutable>) => void Object.assign(state, to) }
    }
    return Effect.gen(function* () {
      const { set, state } = yield* Tag
      expect([state.session?.user, Array.isArray(state.data), state.f?.(), state.g()]).toEqual(["ada", false, 1, 1])
      const { g } = state
      set({ session: null, data: [1], f: undefined, g: () => 2 })
      expect([state.session, Array.isArray(state.data), state.f, state.g(), g()]).toEqual([null, true, undefined, 2, 2])
      set({ session: { user: "bob" }, data: { a: 1 }, f: () => 3 })
      expect([state.session?.user, state.data, state.f?.()]).toEqual(["bob", { a: 1 }, 3])
    }).pipe(Effect.provide(child(Tag, make)))
  })

  it.scoped("dies of what its getter throws, when it is an Effect and run", () => {
    const broken = new Error("broken")
    let isBroken = false
    const Tag = Context.GenericTag<{ readonly next: Effect.Effect<number> }>("Getter")
    return Effect.gen(function* () {
      const mapped = Effect.map((yield* Tag).next, (n) => n + 1)
      expect(yield* mapped).toBe(2)
      isBroken = true
      expect(defectOf(yield* Effect.exit(mapped))).toBe(broken)
      isBroken = false
      yield* crash
      // Run while the child is down, it waits.
      expect(yield* mapped).toBe(3)
    }).pipe(
      Effect.provide(
        child(Tag, (instance) => ({
          get next() {
            if (isBroken) throw broken
            return Effect.sync(() => instance)
          }
        }))
      )
    )
  })

  it.scoped("is read where no program may be made of text as well", () => {
    const Tag = Context.GenericTag<{ readonly withoutText: (n: number) => number; 'with "quotes"\n': number }>("Text")
    const refused = vi.spyOn(globalThis, "Function").mockImplementation(() => {
      throw new EvalError("Code generation from strings disallowed for this context")
    })
    const use = Effect.gen(function* () {
      const it = yield* Tag
      expect([it.withoutText(1), it['with "quotes"\n']]).toEqual([2, 1])
      it['with "quotes"\n'] = 3
      expect(it['with "quotes"\n']).toBe(3)
      yield* restart
      expect([it.withoutText(1), it['with "quotes"\n']]).toEqual([3, 2])
    })
    const layer = child(Tag, (instance) => ({
      withoutText: (n) => n + instance,
      'with "quotes"\n': instance
    }))
    return use.pipe(Effect.provide(layer), Effect.ensuring(Effect.sync(() => refused.mockRestore())))
  })

  it.scoped("may be one of very many that come and go, and that no function is made for", () => {
    const Tag = Context.GenericTag<Record<string, unknown>>("Dictionary")
    const text = vi.spyOn(globalThis, "Function")
    const service: Record<string, unknown> = { first: 1 }
    return Effect.gen(function* () {
      const it = yield* Tag
      for (let n = 0; n < 3000; n++) {
        expect(it[`entry ${n}`]).toBe(undefined)
        service[`entry ${n}`] = { n }
        expect(it[`entry ${n}`]).toMatchObject({ n })
        delete service[`entry ${n}`]
        expect(it[`entry ${n}`]).toBe(undefined)
      }
      expect(it.first).toBe(1)
      const made = text.mock.calls.filter((texts) => texts.at(-1)?.includes("entry"))
      expect(made).toEqual([])
    }).pipe(Effect.provide(child(Tag, () => service)), Effect.ensuring(Effect.sync(() => text.mockRestore())))
  })

  it.scoped("may be a function that has members in another instance only", () => {
    interface Query {
      (): number
      readonly raw?: () => number
    }
    const Tag = Context.GenericTag<{ readonly query: Query }>("Query")
    return Effect.gen(function* () {
      const it = yield* Tag
      expect([it.query(), it.query.raw?.()]).toEqual([1, undefined])
      yield* restart
      expect([it.query(), it.query.raw?.()]).toEqual([2, 2])
      yield* restart
      expect([it.query(), it.query.raw?.()]).toEqual([3, undefined])
    }).pipe(
      Effect.provide(
        child(Tag, (instance) => ({
          query: Object.assign(() => instance, instance === 2 ? { raw: () => instance } : {})
        }))
      )
    )
  })

  it.scoped("may have any name", () => {
    const name = 'a"]\n\u2028b'
    const Tag = Context.GenericTag<{ readonly [name]: () => number }>("Names")
    return Effect.gen(function* () {
      const it = yield* Tag
      expect(it[name]()).toBe(1)
      yield* restart
      expect(it[name]()).toBe(2)
    }).pipe(Effect.provide(child(Tag, (instance) => ({ [name]: () => instance }))))
  })

  it.scoped("can be assigned, but a handle cannot be frozen, redefined or robbed of it unnoticed", () => {
    const Tag = Context.GenericTag<{ a: number; later?: number; readonly f: (() => number) & { x?: number } }>("Sealed")
    return Effect.gen(function* () {
      const it = yield* Tag
      const real = yield* Supervised.current(Tag)
      it.a = 5
      it.later = 6
      expect([real.a, real.later, it.later]).toEqual([5, 6, 6])
      expect(() => Reflect.deleteProperty(it, "a") || Object.defineProperty(it, "a", { value: 7 })).toThrow(TypeError)
      expect(() => Object.defineProperty(it, "b", { value: 7 })).toThrow(TypeError)
      expect(() => Object.defineProperty(it.f, "b", { value: 7 })).toThrow(TypeError)
      expect(() => Object.freeze(it.f)).toThrow(TypeError)
      expect(Reflect.deleteProperty(it.f, "x")).toBe(false)
      Object.freeze(it)
      yield* restart
      expect([it.a, it.f()]).toEqual([1, 1])
    }).pipe(Effect.provide(child(Tag, () => ({ a: 1, f: Object.assign(() => 1, { x: 1 }) }))))
  })

  it.scoped("can be constructed if it is a class, an old one or one that is built in as well", () => {
    class New {}
    function Old(this: { q: number }) {
      this.q = 1
    }
    const OldClass = Old as unknown as new () => { readonly q: number }
    const Tag = Context.GenericTag<{
      readonly New: typeof New
      readonly Map: typeof Map
      readonly Old: new () => { readonly q: number }
    }>("Classes")
    return Effect.gen(function* () {
      const it = yield* Tag
      expect(new it.New()).toBeInstanceOf(it.New)
      expect(new it.Map([[1, 2]]).get(1)).toBe(2)
      expect(new it.Old()).toMatchObject({ q: 1 })
      expect(new it.Old()).toBeInstanceOf(OldClass)
    }).pipe(Effect.provide(child(Tag, () => ({ New, Map, Old: OldClass }))))
  })
})

describe("a function with overloads", () => {
  class Statement extends Effectable.Class<string> {
    constructor(
      readonly parts: ReadonlyArray<string>,
      readonly values: ReadonlyArray<unknown>
    ) {
      super()
    }
    override commit() {
      return Effect.sync(() => String.raw({ raw: this.parts }, ...this.values.map(text)))
    }
  }
  const text = (value: unknown): unknown =>
    typeof value === "object" && value !== null && "name" in value ? `"${value.name}"` : `[${String(value)}]`
  interface Sql {
    (parts: TemplateStringsArray, ...values: ReadonlyArray<unknown>): Statement
    (name: string): { readonly name: string }
  }
  const Tag = Context.GenericTag<Sql>("Sql")
  const make = (): Sql =>
    Object.assign(
      ((first: TemplateStringsArray | string, ...values: ReadonlyArray<unknown>) =>
        typeof first === "string" ? { name: first } : new Statement(first.raw, values)) as Sql,
      { safe: true }
    )

  it.scoped("waits as the tag of a template, and throws where a value is asked for", () =>
    Effect.gen(function* () {
      const up = yield* gate
      yield* Effect.gen(function* () {
        const sql = yield* Tag
        expect(yield* sql`select ${sql("people")}`).toBe('select "people"')
        yield* crash
        expect(() => sql("people")).toThrow(ChildDown)
        const waiting = yield* Effect.fork(sql`select ${1}`)
        yield* Deferred.succeed(up, undefined)
        expect(yield* Fiber.join(waiting)).toBe("select [1]")
      }).pipe(Effect.provide(child(Tag, make, { gate: up })))
    })
  )

  it.scoped("never takes the promise of an answer for a parameter", () =>
    Effect.gen(function* () {
      const up = yield* gate
      yield* Effect.gen(function* () {
        const sql = yield* Tag
        yield* crash
        const people = sql("people")
        const waiting = yield* Effect.fork(sql`select ${people}`)
        yield* Deferred.succeed(up, undefined)
        expect(yield* Fiber.join(waiting)).toBe('select "people"')
        expect(yield* sql`select ${people}`).toBe('select "people"')
      }).pipe(Effect.provide(child(Tag, make, { gate: up })))
    })
  )
})

describe("a call that hangs on a dead instance", () => {
  const stuck = Effect.uninterruptible(Effect.never)

  it.scoped("is released in a Stream whose pull hears nothing", () => {
    const Tag = Context.GenericTag<{ readonly all: Stream.Stream<number> }>("Stuck")
    return Effect.gen(function* () {
      const it = yield* Tag
      const got: Array<number> = []
      const reader = yield* Effect.fork(Stream.runForEach(it.all, (n) => Effect.sync(() => got.push(n))))
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      yield* crash
      expect(defectOf(yield* Fiber.await(reader))).toBeInstanceOf(InstanceDied)
      expect(got).toEqual([1])
    }).pipe(Effect.provide(child(Tag, () => ({ all: Stream.concat(Stream.make(1), Stream.fromEffect(stuck)) }))))
  })

  it.scoped("is released in a member or a method of an Effect that a method returned", () => {
    class Statement extends Effectable.Class<number> {
      constructor(readonly instance: number) {
        super()
      }
      get values() {
        return this.instance === 1 ? stuck : Effect.succeed(this.instance)
      }
      raw() {
        return this.values
      }
      get stream() {
        return Stream.fromEffect(this.values)
      }
      override commit() {
        return Effect.succeed(this.instance)
      }
    }
    const Tag = Context.GenericTag<{ readonly query: () => Statement }>("Statements")
    return Effect.gen(function* () {
      const it = yield* Tag
      const statement = it.query()
      const { stream, values } = statement
      const calls = [values, statement.raw(), Stream.runDrain(stream)]
      const fibers = yield* Effect.forEach(calls, (call) => Effect.fork(call))
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      yield* restart
      for (const fiber of fibers) expect(defectOf(yield* Fiber.await(fiber))).toBeInstanceOf(InstanceDied)
      expect([yield* statement, yield* values, yield* statement.raw()]).toEqual([2, 2, 2])
      expect(Array.from(yield* Stream.runCollect(stream))).toEqual([2])
    }).pipe(Effect.provide(child(Tag, (n) => ({ query: () => new Statement(n) }))))
  })
})

describe("an answer that is not there yet", () => {
  const Tag = Context.GenericTag<{
    readonly isReady: () => boolean
    readonly promise: () => Promise<number>
    readonly ask: () => Effect.Effect<number>
  }>("Ready")
  const make = () => ({
    isReady: () => false,
    promise: () => Promise.resolve(7),
    ask: () => Effect.delay(Effect.void, 1).pipe(Effect.as(1))
  })

  it.scoped("throws when it is awaited, converted or written as JSON", () =>
    Effect.gen(function* () {
      const up = yield* gate
      yield* Effect.gen(function* () {
        const it = yield* Tag
        const known = it.ask()
        yield* crash
        const awaited = yield* Effect.exit(Effect.promise(async () => await it.promise()))
        expect(defectOf(awaited)).toBeInstanceOf(ChildDown)
        expect(() => `${it.isReady()}`).toThrow(ChildDown)
        expect(() => JSON.stringify({ ready: it.isReady() })).toThrow(ChildDown)
        expect(JSON.parse(JSON.stringify({ known, waiting: it.ask() }))).toEqual({
          known: { _id: "Supervised", path: "app/it" },
          waiting: { _id: "Supervised", path: "app/it" }
        })
        yield* Deferred.succeed(up, undefined)
      }).pipe(Effect.provide(child(Tag, make, { gate: up })))
    })
  )

  it.scoped("is refused at once when no instance will follow", () =>
    Effect.gen(function* () {
      const it = yield* Tag
      const known = it.ask()
      yield* crash
      yield* Effect.exit(SupervisionTree.awaitShutdown)
      expect(() => it.isReady()).toThrow(SupervisorShutdown)
      expect(defectOf(yield* Effect.exit(known))).toBeInstanceOf(SupervisorShutdown)
      expect(defectOf(yield* Effect.exit(it.ask()))).toBeInstanceOf(SupervisorShutdown)
    }).pipe(Effect.provide(child(Tag, make, { intensity: 0 })))
  )
})
