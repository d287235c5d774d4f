/**
 * Every order of up to five operations on two keys, against a model that has no concurrency in it: {read (a load, or joining one), end of a load, delete, put,
 * clear, tag, expire, evict, interrupt, restart}. Loads are gates that the test opens; the database is a version per key that each write moves on, so that an old
 * value is told from a new one.
 *
 * All orders of five take minutes: they run where `EFFECTO_INTERLEAVINGS=all` is set. Otherwise it is all orders of four, and of five those without tags,
 * evictions and restarts.
 *
 * Orders in which an operation has nothing to do (a load ends where there is none) are left out, and the first key that is touched is called "a": what is left
 * is every order that differs.
 */
import { describe, expect, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Option, Scope } from "effect"
import { CacheClosed } from "../src/CacheError.js"
import { Recency } from "../src/eviction.js"
import { Succession } from "../src/succession.js"
import { TinyLfu } from "../src/tinyLfu.js"
import { nothing, open, structure } from "./structure.js"

const KEYS = ["a", "b"] as const
type Key = (typeof KEYS)[number]

type Operation =
  | { readonly do: "read" | "endFirst" | "endLast" | "delete" | "put" | "refresh" | "tag"; readonly key: Key }
  | { readonly do: "clear" | "expire" | "interruptFirst" | "interruptLast" | "evict" | "restart" }

const common: ReadonlyArray<Operation> = [
  ...KEYS.flatMap((key) =>
    (["read", "endFirst", "endLast", "delete", "put"] as const).map((what) => ({ do: what, key }))
  ),
  ...(["clear", "expire", "interruptFirst", "interruptLast"] as const).map((what) => ({ do: what }))
]

/** With what ends entries from elsewhere. A value carries its key as a tag, which a load knows only from the value. */
const more: ReadonlyArray<Operation> = [
  ...common,
  ...KEYS.map((key) => ({ do: "tag" as const, key })),
  { do: "evict" },
  { do: "restart" }
]

const all: ReadonlyArray<Operation> = [...more, ...KEYS.map((key) => ({ do: "refresh" as const, key }))]

const show = (operation: Operation) => ("key" in operation ? `${operation.do} ${operation.key}` : operation.do)

interface Load {
  readonly key: Key
  readonly value: number
  revoked: boolean
  /** A tag of its value was invalidated since it began: it is still joined, and nobody who came later gets its value. */
  shaken: boolean
}

interface Reader {
  load: Load | undefined
  late: boolean
  answer: number | "waits" | "interrupted" | "closed"
}

type OnRestart = "empty" | "keep"

/** What a cache is, without fibers. */
class Model {
  readonly version = new Map<Key, number>(KEYS.map((key) => [key, 0]))
  readonly held = new Map<Key, number>()
  loads: Array<Load> = []
  readers: Array<Reader> = []

  constructor(
    readonly capacity: number,
    readonly onRestart: OnRestart = "keep"
  ) {}

  /** Says whether there was anything to do. */
  step(operation: Operation): boolean {
    switch (operation.do) {
      case "read": {
        const reader: Reader = { load: undefined, late: false, answer: "waits" }
        this.readers.push(reader)
        this.ask(reader, operation.key)
        return true
      }
      case "refresh":
        for (const load of this.loads) if (load.key === operation.key) load.revoked = true
        this.readers.push({ load: this.begin(operation.key), late: false, answer: "waits" })
        return true
      case "tag":
        this.version.set(operation.key, (this.version.get(operation.key) ?? 0) + 1)
        this.held.delete(operation.key)
        for (const load of this.loads) if (load.key === operation.key && !load.revoked) load.shaken = true
        return true
      case "endFirst":
      case "endLast": {
        const open = this.loads.filter((each) => each.key === operation.key)
        if (operation.do === "endLast" && open.length < 2) return false
        const load = operation.do === "endFirst" ? open[0] : open.at(-1)
        if (load === undefined) return false
        this.loads = this.loads.filter((each) => each !== load)
        if (!load.revoked && !load.shaken) this.hold(load.key, load.value)
        for (const reader of this.readers) {
          if (reader.load !== load || reader.answer !== "waits") continue
          if (reader.late) this.ask(reader, load.key)
          else reader.answer = load.value
        }
        return true
      }
      case "delete":
        this.write(operation.key)
        this.held.delete(operation.key)
        return true
      case "put":
        this.hold(operation.key, this.write(operation.key))
        return true
      case "clear":
        for (const key of KEYS) this.write(key)
        this.held.clear()
        return true
      case "expire": {
        const had = this.held.size
        this.held.clear()
        return had > 0
      }
      case "evict": {
        const [oldest] = this.held.keys()
        if (oldest !== undefined) this.held.delete(oldest)
        return oldest !== undefined
      }
      case "restart": {
        const had = this.held.size + this.loads.length
        if (this.onRestart === "empty") this.held.clear()
        this.loads = []
        for (const reader of this.readers) if (reader.answer === "waits") reader.answer = "closed"
        return had > 0
      }
      case "interruptFirst":
      case "interruptLast": {
        const waiting = this.readers.filter((each) => each.answer === "waits")
        if (operation.do === "interruptLast" && waiting.length < 2) return false
        const reader = operation.do === "interruptFirst" ? waiting[0] : waiting.at(-1)
        if (reader === undefined) return false
        reader.answer = "interrupted"
        return true
      }
    }
  }

  private ask(reader: Reader, key: Key) {
    const held = this.held.get(key)
    if (held !== undefined) {
      // Read: so it is the last to be evicted.
      this.held.delete(key)
      this.held.set(key, held)
      reader.answer = held
      return
    }
    reader.load = this.loads.find((each) => each.key === key && !each.revoked) ?? this.begin(key)
    reader.late = reader.load.shaken
  }

  private begin(key: Key): Load {
    const load = { key, value: this.version.get(key) ?? 0, revoked: false, shaken: false }
    this.loads.push(load)
    return load
  }

  private hold(key: Key, value: number) {
    this.held.delete(key)
    this.held.set(key, value)
    while (this.held.size > this.capacity) this.held.delete([...this.held.keys()][0] ?? key)
  }

  private write(key: Key): number {
    for (const load of this.loads) if (load.key === key) load.revoked = true
    const version = (this.version.get(key) ?? 0) + 1
    this.version.set(key, version)
    return version
  }
}

/** Every order of exactly this many operations in which each has something to do. */
const orders = (
  length: number,
  capacity: number,
  operations: ReadonlyArray<Operation>
): ReadonlyArray<ReadonlyArray<Operation>> => {
  const replay = (order: ReadonlyArray<Operation>) => {
    const model = new Model(capacity)
    return order.every((operation) => model.step(operation))
  }
  const firstKey = (order: ReadonlyArray<Operation>) => order.find((operation) => "key" in operation)
  let all: ReadonlyArray<ReadonlyArray<Operation>> = [[]]
  for (let turn = 0; turn < length; turn += 1) {
    all = all.flatMap((order) =>
      operations
        .map((operation) => [...order, operation])
        .filter((longer) => {
          const first = firstKey(longer)
          return (first === undefined || !("key" in first) || first.key === "a") && replay(longer)
        })
    )
  }
  return all
}

const IDLE = 1_000

/** A clock that stands still until it is moved, and whose sleepers never wake: expiry must not depend on the sweeper. */
const makeClock = () => {
  let now = 0
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    sleep: () => Effect.never
  }
  return {
    clock,
    pass: (millis: number) => {
      now += millis
    }
  }
}

const turns = Effect.repeatN(Effect.yieldNow(), 4)

/** Keys that nobody reads: written to crowd others out, and deleted again. */
const CROWD = ["x", "y", "z"] as const
type AnyKey = Key | (typeof CROWD)[number]

interface Setting {
  /** One entry by W-TinyLFU, which always holds what was written last; or two by LRU, so that the model knows who goes. */
  readonly capacity: 1 | 2 | undefined
  readonly onRestart: OnRestart
  readonly ending: "end the loads" | "close"
}

const run = (order: ReadonlyArray<Operation>, { capacity, ending, onRestart }: Setting) => {
  const { clock, pass } = makeClock()
  return Effect.withClock(
    Effect.gen(function* () {
      const model = new Model(capacity ?? Number.POSITIVE_INFINITY, onRestart)
      const gates: Array<{ readonly key: AnyKey; readonly gate: Deferred.Deferred<void> }> = []
      const succession = new Succession<AnyKey>()
      const begin = Effect.gen(function* () {
        const scope = yield* Scope.make()
        const opened = open<AnyKey, number, never>(
          {
            span: { idle: IDLE, max: Number.POSITIVE_INFINITY },
            policy: capacity === undefined ? undefined : capacity === 1 ? new TinyLfu(capacity) : new Recency(capacity),
            tags: (_, key) => [key],
            onRestart,
            lookup: (key) =>
              Effect.suspend(() => {
                const value = model.version.get(key as Key) ?? 0 // nobody reads the crowd
                const gate = Deferred.unsafeMake<void>(fiberId)
                gates.push({ key, gate })
                return Effect.as(Deferred.await(gate), Option.some(value))
              })
          },
          succession
        )
        return { scope, ...(yield* Scope.extend(opened, scope)) }
      })
      let instance = yield* begin
      const fiberId = yield* Effect.fiberId
      const readers: Array<Fiber.RuntimeFiber<Option.Option<number>>> = []
      const waiting = () => readers.filter((_, place) => model.readers[place]?.answer === "waits")
      const end = (key: Key, which: 0 | -1) => {
        const gate = gates.filter((each) => each.key === key).at(which)
        if (gate === undefined) return Effect.void
        gates.splice(gates.indexOf(gate), 1)
        return Deferred.succeed(gate.gate, undefined)
      }
      const settled = (fiber: Fiber.RuntimeFiber<Option.Option<number>>) => {
        const exit = fiber.unsafePoll()
        if (exit === null) return "waits"
        if (Exit.isSuccess(exit)) return Option.getOrNull(exit.value)
        return Exit.isInterrupted(exit) ? "interrupted" : "closed"
      }
      for (const operation of order) {
        // The database is written first, then the cache is told: `model.version` is that database.
        const target =
          operation.do === "interruptFirst"
            ? waiting()[0]
            : operation.do === "interruptLast"
              ? waiting().at(-1)
              : undefined
        const before = new Map(model.version)
        const { cache } = instance
        const held = model.held.size
        model.step(operation)
        switch (operation.do) {
          case "read":
            yield* Effect.sync(() => expect(new Map(model.version)).toEqual(before))
            readers.push(yield* Effect.fork(cache.get(operation.key)))
            break
          case "endFirst":
            yield* end(operation.key, 0)
            break
          case "endLast":
            yield* end(operation.key, -1)
            break
          case "delete":
            yield* cache.delete(operation.key)
            break
          case "refresh":
            readers.push(yield* Effect.fork(cache.refresh(operation.key)))
            break
          case "tag":
            yield* cache.invalidateTag(operation.key)
            break
          case "put":
            yield* cache.put(operation.key, model.version.get(operation.key) ?? 0)
            break
          case "clear":
            yield* cache.clear
            break
          case "expire":
            pass(IDLE)
            break
          case "evict":
            for (const key of CROWD.slice(0, (capacity ?? 0) - held + 1)) yield* cache.put(key, 0)
            yield* cache.deleteAll(CROWD)
            break
          case "restart":
            yield* Scope.close(instance.scope, Exit.void)
            expect(structure(instance.service)).toEqual(nothing)
            gates.length = 0
            instance = yield* begin
            break
          default:
            if (target !== undefined) yield* Fiber.interrupt(target)
        }
        yield* turns
        const there = new Map<Key, number>()
        for (const key of KEYS) {
          // Looked at, and not read: that would say which of them is evicted first.
          const value = Option.getOrUndefined(instance.cache.unsafePeek(key))
          if (value !== undefined) there.set(key, value)
        }
        const inside = structure(instance.service)
        expect({
          held: there,
          readers: readers.map(settled),
          loads: inside.loads,
          inFlight: inside.inFlight,
          waiters: inside.waiters
        }).toEqual({
          held: new Map(KEYS.flatMap((key) => (model.held.has(key) ? [[key, model.held.get(key) ?? 0] as const] : []))),
          readers: model.readers.map(({ answer }) => answer),
          loads: model.loads.filter(({ revoked }) => !revoked).length,
          inFlight: model.loads.length,
          waiters: model.readers.filter(({ answer }) => answer === "waits").length
        })
        expect([inside.filed, inside.ordered]).toEqual([inside.entries, capacity === undefined ? 0 : inside.entries])
      }
      if (ending === "end the loads") {
        // Once more, for those whose load was overtaken and who load anew.
        for (let round = 0; round < 2; round += 1) {
          for (const { gate } of gates.splice(0)) yield* Deferred.succeed(gate, undefined)
          yield* turns
        }
        for (const [place, { answer, late, load }] of model.readers.entries()) {
          const fiber = readers[place]
          if (answer !== "waits" || fiber === undefined || load === undefined) continue
          expect(settled(fiber)).toBe(late ? model.version.get(load.key) : load.value)
        }
      }
      yield* Scope.close(instance.scope, Exit.void)
      for (const fiber of readers) expect((yield* Fiber.await(fiber))._tag).toBeDefined()
      if (ending === "close") {
        for (const fiber of waiting()) {
          expect(yield* Fiber.await(fiber)).toEqual(
            Exit.die(new CacheClosed({ cache: "opened", reason: "the scope that owns it has ended" }))
          )
        }
      }
      expect(structure(instance.service)).toEqual(nothing)
    }),
    clock
  ).pipe(
    Effect.catchAllDefect((defect) =>
      Effect.die(
        new Error(`${order.map(show).join(", ")}; ${ending}, ${onRestart}\n${String(defect)}`, { cause: defect })
      )
    )
  )
}

const whole = process.env.EFFECTO_INTERLEAVINGS === "all"

describe("every order of", () => {
  for (const [length, capacity, operations, count] of [
    [3, 2, all, 941],
    [4, 2, all, 13_254],
    [4, 1, common, 1_994],
    [5, undefined, common, 17_828],
    ...(whole ? [[5, 2, more, 67_315] as const] : [])
  ] as const) {
    const among =
      operations === common
        ? ""
        : `, tags, evictions and restarts${operations === all ? " and refreshes" : ""} among them,`
    it.effect(
      `${length} operations${among}${capacity === undefined ? "" : ` holding ${capacity} at most,`} comes out as the model says`,
      () => {
        const all = orders(length, capacity ?? Number.POSITIVE_INFINITY, operations)
        // An order that is left out by mistake would be missed by nobody.
        expect(all.length).toBe(count)
        return Effect.forEach(
          all,
          (order, index) => {
            const ending = index % 2 === 0 ? "end the loads" : "close"
            const restarts = order.some((operation) => operation.do === "restart")
            return Effect.zipRight(
              // Lets the runner have its turn now and then.
              index % 500 === 0 ? Effect.promise(() => new Promise(setImmediate)) : Effect.void,
              Effect.forEach(
                restarts ? (["keep", "empty"] as const) : (["keep"] as const),
                (onRestart) => run(order, { capacity, onRestart, ending }),
                { discard: true }
              )
            )
          },
          { discard: true }
        )
      },
      1_800_000
    )
  }
})
