import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Effectable, Exit, Layer, Stream } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const childOf = <I, S>(tag: Context.Tag<I, S>, make: (instance: number) => S) => {
  let instances = 0
  return Layer.sync(tag, () => make(++instances)).pipe(
    Supervised.layer({ id: "it" }),
    SupervisionTree.layer({ name: "app", intensity: 3 })
  )
}
const restart = Effect.zipRight(TestSupervision.crash("app/it"), TestSupervision.awaitRestart("app/it"))

describe("a getter", () => {
  class Own extends Effectable.Class<string> {
    constructor(readonly answer: string) {
      super()
    }
    override commit() {
      return Effect.succeed(this.answer)
    }
  }
  interface Made {
    readonly plain: (n: number) => string
    readonly many: (...all: ReadonlyArray<number>) => string
    readonly sync: Effect.Effect<string>
    readonly late: Effect.Effect<string>
    readonly own: Own
    readonly inner: { readonly ask: () => string }
    readonly stream: Stream.Stream<string>
  }
  const Made = Context.GenericTag<Made>("Made")
  /** Each getter makes another one each time, and says so. */
  const service = (reads: Array<string>) => (instance: number) => {
    const next = (name: string): string => {
      reads.push(name)
      return `${name} ${reads.length} of ${instance}`
    }
    return {
      get plain() {
        const made = next("plain")
        return () => made
      },
      get many() {
        const made = next("many")
        return () => made
      },
      get sync() {
        const made = next("sync")
        return Effect.sync(() => made)
      },
      get late() {
        const made = next("late")
        return Effect.as(Effect.yieldNow(), made)
      },
      get own() {
        return new Own(next("own"))
      },
      get inner() {
        const made = next("inner")
        return { ask: () => made }
      },
      get stream() {
        return Stream.succeed(next("stream"))
      }
    }
  }

  it.scoped("that makes another one each time is asked once for each use", () => {
    const reads: Array<string> = []
    return Effect.gen(function* () {
      const it = yield* Made
      for (const instance of [1, 2]) {
        for (let round = 0; round < 2; round += 1) {
          reads.length = 0
          const said = [
            it.plain(1),
            it.many(1, 2, 3, 4),
            yield* it.sync,
            yield* Effect.map(it.sync, (answer) => answer),
            yield* it.late,
            yield* Effect.map(it.late, (answer) => answer),
            yield* it.own,
            it.inner.ask(),
            (yield* Stream.runCollect(it.stream)).pipe(Array.from).join()
          ]
          const names = ["plain", "many", "sync", "sync", "late", "late", "own", "inner", "stream"]
          expect(reads).toEqual(names)
          expect(said).toEqual(names.map((name, at) => `${name} ${at + 1} of ${instance}`))
        }
        yield* restart
      }
    }).pipe(Effect.provide(childOf(Made, service(reads))))
  })

  it.scoped("is asked again when an Effect is run again that was kept", () => {
    const reads: Array<string> = []
    return Effect.gen(function* () {
      const it = yield* Made
      reads.length = 0
      const { late, sync } = it
      const kept = [Effect.map(sync, (answer) => answer), Effect.map(late, (answer) => answer), sync, late]
      const rounds = yield* Effect.all([Effect.all(kept), Effect.all(kept)])
      expect(rounds.flat().map((answer) => answer.split(" ").slice(2).join(" "))).toEqual(Array(8).fill("of 1"))
      // Each was read when it was taken, which its first run has used.
      expect(reads.length).toBe(8)
      // And is again for each run that follows, by the run loop or by a generator.
      yield* Effect.map(late, (answer) => answer)
      yield* late
      yield* sync
      expect(reads.length).toBe(11)
      // Looked at, but not run, before there is another instance.
      expect(Reflect.get(sync, "_op")).toBe("Sync")
      yield* restart
      expect((yield* sync).slice(-4)).toBe("of 2")
      expect((yield* Effect.all(kept)).map((answer) => answer.slice(-4))).toEqual(Array(4).fill("of 2"))
    }).pipe(Effect.provide(childOf(Made, service(reads))))
  })

  class Query {
    readonly parts: Array<string> = []
    constructor(readonly from: string) {}
    where(part: string): this {
      this.parts.push(part)
      return this
    }
    get text(): string {
      return `${this.from}: ${this.parts.join(" and ")}`
    }
    get run() {
      return Effect.sync(() => this.text)
    }
  }
  class Store {
    private count = 0
    constructor(readonly instance: number) {}
    get query() {
      return new Query(`query of ${this.instance}`)
    }
    get counter() {
      let n = 0
      return () => ++n
    }
    get named() {
      let n = 0
      return Object.assign(() => ++n, { kind: "counter" })
    }
    get ticket() {
      const number = this.count++
      return Effect.sync(() => number)
    }
  }
  const Stored = Context.GenericTag<Store>("Stored")

  it.scoped("answers with another one for each that has asked, and not for both with the last", () =>
    Effect.gen(function* () {
      const it = yield* Stored
      const [first, second] = [it.query, it.query]
      first.where("a").where("b")
      second.where("c")
      expect([first.text, yield* first.run, second.text]).toEqual([
        "query of 1: a and b",
        "query of 1: a and b",
        "query of 1: c"
      ])
      for (const name of ["counter", "named"] as const) {
        const one = it[name]
        const before = one()
        const other = it[name]
        expect([before, one(), other(), one(), it.named.kind]).toEqual([1, 2, 1, 3, "counter"])
      }
      expect(yield* Effect.all([it.ticket, it.ticket, it.ticket])).toEqual([0, 1, 2])
      yield* restart
      // Of the next instance, as any handle.
      expect([first.text, second.where("d").text, it.query.where("e").text]).toEqual([
        "query of 2: ",
        "query of 2: d",
        "query of 2: e"
      ])
    }).pipe(Effect.provide(childOf(Stored, (instance) => new Store(instance))))
  )

  it.scoped("that answers with a function is known by what that has answered with while the child is down", () => {
    const Plain = Context.GenericTag<{ readonly name: () => string }>("Plain")
    const service = {
      get name() {
        return () => "name"
      }
    }
    return Effect.gen(function* () {
      const it = yield* Plain
      it.name()
      yield* SupervisionTree.terminate("app/it")
      expect(() => it.name()).toThrow(ChildDown)
    }).pipe(Effect.provide(childOf(Plain, () => service)))
  })
})

describe("a member that is replaced through the handle", () => {
  const service = (instance: number) => ({
    plain: (n: number) => n + instance,
    sum(n: number) {
      return this.plain(n)
    },
    ask: (n: number) => Effect.sync(() => n + instance),
    named: Object.assign((n: number) => n + instance, { unit: "ms" }),
    next: Effect.sync(() => instance),
    inner: { ask: (n: number) => n + instance }
  })
  const Wrapped = Context.GenericTag<ReturnType<typeof service>>("Wrapped")

  it.scoped("may call the one that it replaces", () =>
    Effect.gen(function* () {
      const it = yield* Wrapped
      const { ask, inner, named, next, plain, sum } = it
      const said = Effect.gen(function* () {
        return [
          it.plain(1),
          it.sum(1),
          yield* it.ask(1),
          it.named(1),
          yield* it.next,
          yield* Effect.map(it.next, (n) => n),
          it.inner.ask(1)
        ]
      })
      const before = yield* said
      expect(before).toEqual([2, 2, 2, 2, 1, 1, 2])
      it.plain = (n) => plain(n) * 10
      it.sum = (n) => sum(n) + 1000
      it.ask = (n) => Effect.map(ask(n), (answer) => answer * 10)
      it.named = Object.assign((n: number) => named(n) * 10, { unit: "s" })
      it.next = Effect.map(next, (n) => n * 10)
      it.inner = { ask: (n) => inner.ask(n) * 10 }
      expect([it.named.unit, yield* said]).toEqual(["s", [20, 1020, 20, 20, 10, 10, 20]])
      // Twice, and with what it is.
      const again = it.plain
      it.plain = (n) => again(n) * 10
      const same = it.ask
      it.ask = same
      expect([it.plain(1), yield* it.ask(1)]).toEqual([200, 20])
      // The next instance has its own.
      yield* restart
      expect([plain(1), again(1), yield* ask(1), named(1), yield* next, inner.ask(1)]).toEqual([3, 3, 3, 3, 2, 3])
      expect(yield* said).toEqual([3, 3, 3, 3, 2, 2, 3])
      it.plain = (n) => plain(n) * 10
      expect([it.plain(1), plain(1)]).toEqual([30, 3])
    }).pipe(Effect.provide(childOf(Wrapped, service)))
  )

  it.scoped("is the one of its service again, also if what was put there was the one that had been there", () => {
    const Given = Context.GenericTag<{ plain: (n: number) => number; readonly change: () => void }>("Given")
    const plain = (n: number) => n
    const given = () => ({
      plain,
      change() {
        this.plain = (n) => n + 100
      }
    })
    return Effect.gen(function* () {
      const it = yield* Given
      const before = it.plain
      it.plain = plain
      const after = it.plain
      it.change()
      expect([before(1), after(1), it.plain(1)]).toEqual([1, 101, 101])
    }).pipe(Effect.provide(childOf(Given, given)))
  })
})

describe("an Effect that is a Sync to the run loop, and has a commit for everybody else", () => {
  /** What it is by itself to the run loop, no handle may leave to it. */
  const bare = () => "bare"
  class Read extends Effectable.Class<string> {
    constructor(readonly answer: string) {
      super()
    }
    get _op() {
      return "Sync"
    }
    get effect_instruction_i0() {
      return bare
    }
    override commit() {
      return Effect.sync(() => this.answer)
    }
  }
  class Own extends Read {
    constructor(answer: string) {
      super(answer)
      for (const [name, value] of [
        ["_op", "Sync"],
        ["effect_instruction_i0", bare]
      ] as const)
        Object.defineProperty(this, name, { value, enumerable: true })
    }
  }
  for (const [what, Class] of [
    ["by its class", Read],
    ["by itself", Own]
  ] as const) {
    it.scoped(`is asked for its commit by a handle: ${what}`, () => {
      const Reads = Context.GenericTag<{ readonly read: Read; readonly ask: () => Read }>("Reads")
      return Effect.gen(function* () {
        const it = yield* Reads
        const { read } = it
        const asked = it.ask()
        const said = Effect.all([read, Effect.map(read, (answer) => answer), asked, it.ask(), it.read])
        expect(yield* said).toEqual(Array(5).fill("read of 1"))
        yield* restart
        expect(yield* said).toEqual(Array(5).fill("read of 2"))
      }).pipe(
        Effect.provide(
          childOf(Reads, (instance) => {
            const read = new Class(`read of ${instance}`)
            return { read, ask: () => read }
          })
        )
      )
    })
  }
})

describe("a function with members", () => {
  it.scoped("that is put in the place of another one is the one that is called", () => {
    const Sending = Context.GenericTag<{ send: (() => number) & { readonly version: number } }>("Sending")
    const sending = (version: number) => Object.assign(() => version, { version })
    return Effect.gen(function* () {
      const it = yield* Sending
      const said = [it.send(), it.send.version]
      it.send = sending(2)
      expect([...said, it.send(), it.send.version]).toEqual([1, 1, 2, 2])
    }).pipe(Effect.provide(childOf(Sending, () => ({ send: sending(1) }))))
  })
})

describe("a function that answers to any name", () => {
  interface Client {
    (...args: ReadonlyArray<unknown>): string
    readonly [name: string]: Client
  }
  /** As a client of a remote service is made: by a Proxy of a function, for each name another one. */
  const clientOf = (instance: number, target: () => void, path: ReadonlyArray<string> = []): Client =>
    // The handler answers to any name with another one of these.
    new Proxy(target, {
      get: (_, name) =>
        typeof name === "string" && name !== "then" ? clientOf(instance, target, [...path, name]) : undefined,
      apply: (_, _this, args) => `${instance}: ${path.join(".")}(${args.join(", ")})`
    }) as unknown as Client

  for (const [what, target] of [
    ["an arrow", () => {}],
    ["a function", function () {}]
  ] as const) {
    it.scoped(`keeps its members, and they find the current instance: ${what}`, () => {
      const Api = Context.GenericTag<{ readonly client: Client; readonly connect: () => Client }>("Api")
      return Effect.gen(function* () {
        const { client, connect } = yield* Api
        const { list } = client.users as unknown as { readonly list: Client }
        const connected = connect()
        const said = () => [client(0), client.users?.byId?.(7), list(1), list.all?.(), connected.posts?.(2)]
        expect(said()).toEqual(["1: (0)", "1: users.byId(7)", "1: users.list(1)", "1: users.list.all()", "1: posts(2)"])
        yield* restart
        expect(said()).toEqual(["2: (0)", "2: users.byId(7)", "2: users.list(1)", "2: users.list.all()", "2: posts(2)"])
      }).pipe(
        Effect.provide(
          childOf(Api, (instance) => ({
            client: clientOf(instance, target),
            connect: () => clientOf(instance, target)
          }))
        )
      )
    })

    it.scoped(`may be the service itself: ${what}`, () => {
      const Api = Context.GenericTag<Client>("Client")
      return Effect.gen(function* () {
        const client = yield* Api
        expect([client(1), client.users?.list?.(2)]).toEqual(["1: (1)", "1: users.list(2)"])
        yield* restart
        expect([client(1), client.users?.list?.(2)]).toEqual(["2: (1)", "2: users.list(2)"])
      }).pipe(Effect.provide(childOf(Api, (instance) => clientOf(instance, target))))
    })
  }

  it.scoped("can be constructed if what is behind it can", () => {
    interface Point {
      readonly instance: number
      readonly x: number
    }
    const Points = Context.GenericTag<{ readonly make: new (x: number) => Point }>("Points")
    const pointOf = (instance: number) => {
      const make = function (this: { -readonly [K in keyof Point]: Point[K] }, x: number) {
        this.instance = instance
        this.x = x
      }
      return new Proxy(make, { get: (target, name) => (name === "prototype" ? target.prototype : () => name) })
    }
    return Effect.gen(function* () {
      const it = yield* Points
      expect(new it.make(7)).toMatchObject({ instance: 1, x: 7 })
      yield* restart
      expect(new it.make(8)).toMatchObject({ instance: 2, x: 8 })
      // A function that is only ever called with `new`.
    }).pipe(
      Effect.provide(
        childOf(Points, (instance) => ({ make: pointOf(instance) as unknown as new (x: number) => Point }))
      )
    )
  })

  it.scoped("is called on its service, if it is a method that somebody watches", () => {
    const Watched = Context.GenericTag<{ readonly name: string; readonly say: () => string }>("Watched")
    const watch = (calls: Array<string>, method: () => string) =>
      new Proxy(method, {
        apply: (target, self, args) => {
          calls.push("say")
          return Reflect.apply(target, self, args)
        }
      })
    const calls: Array<string> = []
    return Effect.gen(function* () {
      const it = yield* Watched
      expect(it.say()).toBe("1")
      yield* restart
      expect([it.say(), ...calls]).toEqual(["2", "say", "say"])
    }).pipe(
      Effect.provide(
        childOf(Watched, (instance) => ({
          name: String(instance),
          say: watch(calls, function (this: { readonly name: string }) {
            return this.name
          } as () => string)
        }))
      )
    )
  })

  it.scoped("may be of a class of functions, whose members it has", () => {
    interface Ask {
      (): string
      readonly loudly: () => string
    }
    const prototype = {
      loudly(this: Ask) {
        return this().toUpperCase()
      }
    }
    Object.setPrototypeOf(prototype, Function.prototype)
    const Asks = Context.GenericTag<{ readonly ask: Ask }>("Asks")
    return Effect.gen(function* () {
      const { ask } = yield* Asks
      expect([ask(), ask.loudly()]).toEqual(["a1", "A1"])
      yield* restart
      expect([ask(), ask.loudly()]).toEqual(["a2", "A2"])
    }).pipe(
      Effect.provide(
        childOf(Asks, (instance) => ({ ask: Object.setPrototypeOf(() => `a${instance}`, prototype) as Ask }))
      )
    )
  })

  it.scoped("is left alone if it is a class that somebody watches", () => {
    class Point {
      constructor(readonly x: number) {}
    }
    const Classes = Context.GenericTag<{ readonly Point: typeof Point }>("Classes")
    return Effect.gen(function* () {
      const it = yield* Classes
      const point = new it.Point(1)
      expect([point.x, point instanceof it.Point, point instanceof Point]).toEqual([1, true, true])
      expect(Exit.isExit(point)).toBe(false)
    }).pipe(Effect.provide(childOf(Classes, () => ({ Point: new Proxy(Point, {}) }))))
  })
})

describe("a service that throws when it is looked at", () => {
  it.scoped("is a failed start of its child, and no defect of the tree", () => {
    const Refusing = Context.GenericTag<{ readonly name: string }>("Refusing")
    const refuses = new Error("do not look")
    const service = new Proxy(
      { name: "x" },
      {
        getOwnPropertyDescriptor: () => {
          throw refuses
        }
      }
    )
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(Layer.build(childOf(Refusing, () => service)))
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toBe(refuses)
    })
  })
})
