/** Entries in columns, through the cache's own store: what is removed leaves room for others, and the columns grow and shrink around what is held. */
import { describe, expect, it } from "@effect/vitest"
import { Data, Effect, FastCheck } from "effect"
import { type Policy, Recency } from "../src/eviction.js"
import { Store } from "../src/store.js"
import { TinyLfu } from "../src/tinyLfu.js"
import { open } from "./structure.js"

interface Held {
  readonly value: number
  readonly idle: number
  readonly end: number
  deadline: number
  readonly tags: ReadonlyArray<string>
  readonly weight: number
}

const forever = { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY }
const second = { idle: Number.POSITIVE_INFINITY, max: 1_000 }

/** Numbers and, for every third, keys that are equal by what they contain. */
const keyOf = (name: number): unknown => (name % 3 === 0 ? Data.tuple("key", name) : name)

const name = FastCheck.integer({ min: 0, max: 299 })
const range = FastCheck.record({ from: name, length: FastCheck.integer({ min: 1, max: 150 }) })
const step = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.record({ do: FastCheck.constant("put" as const), range, kind: FastCheck.nat(3) }) },
  { weight: 4, arbitrary: FastCheck.record({ do: FastCheck.constant("remove" as const), range }) },
  { weight: 3, arbitrary: FastCheck.record({ do: FastCheck.constant("use" as const), range }) },
  FastCheck.record({ do: FastCheck.constant("tag" as const), tag: FastCheck.constantFrom("even", "odd") }),
  FastCheck.record({ do: FastCheck.constant("retime" as const), range }),
  FastCheck.record({ do: FastCheck.constant("wait" as const), millis: FastCheck.integer({ min: 1, max: 3_000 }) }),
  FastCheck.record({ do: FastCheck.constant("settle" as const), steps: FastCheck.integer({ min: 0, max: 50 }) }),
  FastCheck.record({ do: FastCheck.constant("size" as const) }),
  FastCheck.record({ do: FastCheck.constant("clear" as const) }),
  FastCheck.record({ do: FastCheck.constant("handOver" as const) })
)

type Step = typeof step extends FastCheck.Arbitrary<infer A> ? A : never

const namesIn = ({ from, length }: { readonly from: number; readonly length: number }): ReadonlyArray<number> =>
  Array.from({ length }, (_, place) => (from + place) % 300)

const spanOf = (kind: number) =>
  kind === 0
    ? { idle: 1_000, max: Number.POSITIVE_INFINITY }
    : kind === 1
      ? { idle: 500, max: 2_000 }
      : kind === 2
        ? forever
        : { idle: 5_000, max: Number.POSITIVE_INFINITY }

/** Steps that remove several entries, in an order that is the store's own. */
const SEVERAL: ReadonlyArray<Step["do"]> = ["tag", "wait", "size", "clear"]

/** Runs the steps against a list of what should be held, the least recently used first. */
const agree = (policy: Policy<unknown> | undefined, steps: Iterable<Step>): void => {
  let store = new Store<unknown, number, never>(policy, { idle: 1_000 })
  const capacity = policy?.capacity ?? Number.POSITIVE_INFINITY
  const model = new Map<number, Held>()
  let now = 0
  let written = 0
  const forget = (name: number) => {
    const held = model.get(name)
    model.delete(name)
    return held
  }
  const live = () => [...model].filter(([, { deadline }]) => now < deadline)
  for (const each of steps) {
    const told: Array<unknown> = []
    const expected: Array<unknown> = []
    store.removed = (key, value, cause) => told.push([key, value, cause])
    if (each.do === "put") {
      for (const name of namesIn(each.range)) {
        const span = spanOf(each.kind)
        written += 1
        const tags = each.kind === 3 ? [] : [name % 2 === 0 ? "even" : "odd"]
        const weight = each.kind
        const before = forget(name)
        if (before !== undefined) expected.push([keyOf(name), before.value, "replaced"])
        const end = now + span.max
        model.set(name, {
          value: written,
          idle: span.idle,
          end,
          deadline: Math.min(now + span.idle, end),
          tags,
          weight
        })
        store.put(keyOf(name), written, span, now, { tags, weight })
        if (model.size > capacity) {
          const [oldest] = model.keys()
          const gone = oldest === undefined ? undefined : forget(oldest)
          expected.push([keyOf(oldest ?? -1), gone?.value, "evicted"])
        }
      }
    } else if (each.do === "remove") {
      for (const name of namesIn(each.range)) {
        const before = forget(name)
        if (before !== undefined) expected.push([keyOf(name), before.value, "invalidated"])
        store.remove(keyOf(name))
      }
    } else if (each.do === "use") {
      for (const name of namesIn(each.range)) {
        const slot = store.entries.get(keyOf(name))
        const held = forget(name)
        expect(slot === undefined).toBe(held === undefined)
        if (slot === undefined || held === undefined) continue
        const isHit = store.use(slot, now)
        expect(isHit).toBe(now < held.deadline)
        if (!isHit) expected.push([keyOf(name), held.value, "expired"])
        else model.set(name, { ...held, deadline: Math.min(now + held.idle, held.end) })
      }
    } else if (each.do === "tag") {
      for (const [name, held] of [...model]) {
        if (!held.tags.includes(each.tag)) continue
        model.delete(name)
      }
      store.invalidateTag(each.tag, now)
    } else if (each.do === "retime") {
      for (const name of namesIn(each.range)) {
        const held = model.get(name)
        const slot = store.peek(keyOf(name), now)
        expect(slot === undefined).toBe(held === undefined || held.deadline <= now)
        if (held === undefined || slot === undefined) continue
        model.set(name, { ...held, idle: 700, end: now + 900, deadline: now + 700 })
        store.retime(slot, { idle: 700, max: 900 }, now)
      }
    } else if (each.do === "wait") {
      now += each.millis
      while (!store.sweep(now, 7));
      for (const [name, held] of [...model]) {
        if (held.deadline <= now && store.entries.get(keyOf(name)) === undefined) model.delete(name)
      }
    } else if (each.do === "settle") store.entries.settle(each.steps)
    else if (each.do === "size") {
      for (const [name, held] of [...model]) if (held.deadline <= now) model.delete(name)
      expect(store.size(now)).toBe(model.size)
    } else if (each.do === "clear") {
      model.clear()
      store.clear()
    } else store = store.handOver()
    if (!SEVERAL.includes(each.do)) expect(told).toEqual(expected)
    const seen = new Map(
      store.list(now, (slot, _, { entries }) => [
        JSON.stringify(entries.keyOf(slot)),
        [entries.valueOf(slot), entries.deadlineOf(slot), entries.tags.of(slot)]
      ])
    )
    expect(seen).toEqual(
      new Map(live().map(([name, held]) => [JSON.stringify(keyOf(name)), [held.value, held.deadline, held.tags]]))
    )
    expect([store.entries.size, store.weight]).toEqual([
      model.size,
      [...model.values()].reduce((sum, { weight }) => sum + weight, 0)
    ])
    expect(store.entries.expiry.count()).toBe(
      [...model.values()].filter(({ deadline }) => deadline < Number.POSITIVE_INFINITY).length
    )
    expect(policy?.count() ?? 0).toBe(policy === undefined ? 0 : model.size)
  }
  expect(store.entries.settle(Number.POSITIVE_INFINITY)).toBe(true)
  expect(store.entries.room).toBeLessThanOrEqual(Math.max(16, 4 * model.size))
  // In the end they leave in the order of their last use.
  if (policy instanceof Recency) {
    for (const name of model.keys()) {
      const victim = policy.victim()
      expect(victim === undefined ? undefined : store.entries.keyOf(victim)).toEqual(keyOf(name))
      store.remove(keyOf(name))
    }
  }
}

describe("a store in columns agrees with a list", () => {
  const steps = FastCheck.array(step, { maxLength: 30 })

  it("without a bound", () => {
    FastCheck.assert(
      FastCheck.property(steps, (steps) => agree(undefined, steps)),
      { numRuns: 100 }
    )
  })

  it("of the most recently used, in their order", () => {
    FastCheck.assert(
      FastCheck.property(steps, FastCheck.integer({ min: 1, max: 200 }), (steps, capacity) =>
        agree(new Recency(capacity), steps)
      ),
      { numRuns: 100 }
    )
  })

  it("with room for all of them in W-TinyLFU", () => {
    FastCheck.assert(
      FastCheck.property(steps, (steps) => agree(new TinyLfu(300), steps)),
      { numRuns: 100 }
    )
  })
})

describe("through tides of writing and removing, a store agrees with a list", () => {
  const tides = function* (seed: number): Generator<Step> {
    let random = seed
    const below = (most: number): number => {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
      return (random >>> 8) % most
    }
    for (let turn = 0; turn < 2_000; turn += 1) {
      const isFlood = turn % 100 < 30
      const range = { from: below(300), length: 1 + below(isFlood ? 40 : 20) }
      const kind = below(20)
      if (kind < 10) yield isFlood ? { do: "put", range, kind: below(4) } : { do: "remove", range }
      else if (kind < 12) yield { do: "put", range: { ...range, length: 1 + below(3) }, kind: below(4) }
      else if (kind < 16) yield { do: "use", range }
      else if (kind < 17) yield { do: "retime", range: { ...range, length: 1 + below(3) } }
      else if (kind < 18) yield { do: "wait", millis: 1 + below(100) }
      else yield { do: "settle", steps: below(20) }
    }
  }

  it("without a bound", () => {
    for (const seed of [1, 2, 3]) agree(undefined, tides(seed))
  })

  it("of the most recently used", () => {
    for (const seed of [1, 2]) agree(new Recency(250), tides(seed))
  })

  it("of W-TinyLFU", () => {
    agree(new TinyLfu(300), tides(1))
  })
})

describe("room", () => {
  it("is given back, while more is written and removed", () => {
    const policy = new TinyLfu<number>(100_000)
    const store = new Store<number, number, never>(policy)
    for (let key = 0; key < 100_000; key += 1) store.put(key, key, forever, 0)
    expect(store.entries.room).toBe(100_001)
    for (let key = 0; key < 99_000; key += 1) {
      store.remove(key)
      if (key % 10 === 0) store.put(-key, key, forever, 0)
      if (key % 10 === 1) store.remove(1 - key)
    }
    while (!store.entries.settle(1));
    expect([store.entries.size, policy.count()]).toEqual([1_000, 1_000])
    expect(store.entries.room).toBeLessThanOrEqual(4_000)
    for (let key = 99_000; key < 100_000; key += 1) expect(store.held(key)).toBe(key)
  })

  it("that is needed again before it is given back stays", () => {
    const store = new Store<number, number, never>(undefined)
    for (let key = 0; key < 1_024; key += 1) store.put(key, key, forever, 0)
    // No more than a step for each: far from done.
    for (let key = 0; key < 800; key += 1) store.dropOf(key)
    store.entries.settle(10)
    for (let key = 0; key < 800; key += 1) store.put(key, -key, forever, 0)
    expect(store.entries.room).toBe(1_024)
    for (let key = 0; key < 800; key += 1) expect(store.held(key)).toBe(-key)
    for (let key = 800; key < 1_024; key += 1) expect(store.held(key)).toBe(key)
  })

  it("is not given back when what came meanwhile needs it, whatever lifetimes there are", () => {
    for (let above = 1; above <= 60; above += 1) {
      const store = new Store<number, number, never>(new Recency(100))
      // What expires has a place in each bucket's ring, in columns that end where it does.
      for (let key = 0; key < 64; key += 1) store.put(key, key, second, 0)
      for (let key = 64; key < 100; key += 1) store.put(key, key, forever, 0)
      for (let key = 0; key < 50; key += 1) store.remove(key)
      for (let key = 64; key < 100; key += 1) store.remove(key)
      store.entries.settle(40)
      for (let key = 100; key < 100 + above; key += 1) store.put(key, key, forever, 0)
      store.entries.settle(Number.POSITIVE_INFINITY)
      expect([store.sweep(2_000, 1_000), store.counters.expirations]).toEqual([true, 14])
      expect(store.size(2_000)).toBe(above)
    }
  })

  const turns = Effect.repeatN(Effect.yieldNow(), 200)

  it.scoped("is given back when a few of many stay and nothing is done any more", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<number, number, never>({
        span: forever,
        policy: undefined,
        lookup: undefined
      })
      for (let key = 0; key < 20_000; key += 1) yield* cache.put(key, key)
      for (let key = 10; key < 20_000; key += 1) yield* cache.delete(key)
      yield* turns
      expect([yield* cache.size, service.store.entries.room]).toEqual([10, 32])
      expect(service.store.due).toBe(Number.POSITIVE_INFINITY)
    })
  )

  it.scoped("is given back when a few heavy values have driven out many light ones", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<number, number, never>({
        span: forever,
        policy: new Recency(Number.POSITIVE_INFINITY),
        lookup: undefined,
        maxWeight: 20_000,
        weight: (value) => value
      })
      for (let key = 0; key < 20_000; key += 1) yield* cache.put(key, 1)
      for (let key = 0; key < 10; key += 1) yield* cache.put(-1 - key, 2_000)
      yield* turns
      expect([yield* cache.size, service.store.entries.room]).toEqual([10, 32])
    })
  )
})

describe("clear", () => {
  it("leaves nothing of how often was used what was held before", () => {
    const evicted = (uses: number): ReadonlyArray<number> => {
      const store = new Store<number, number, never>(new TinyLfu(100))
      for (let key = 0; key < 100; key += 1) store.put(key, key, forever, 0)
      for (let use = 0; use < uses; use += 1) store.use(store.entries.get(use % 100) ?? -1, 0)
      store.clear()
      const gone: Array<number> = []
      store.removed = (key) => gone.push(key)
      let random = 1
      for (let turn = 0; turn < 300; turn += 1) {
        random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
        // Some keys more often than others.
        const key = (((random >>> 8) % 200) * ((random >>> 16) % 200)) >> 7
        const slot = store.entries.get(key)
        if (slot === undefined) store.put(key, key, forever, 0)
        else store.use(slot, 0)
      }
      return gone
    }
    expect(evicted(600)).toEqual(evicted(0))
    expect(evicted(0).length).toBeGreaterThan(10)
  })
})

describe("use", () => {
  it("of what another takes the place of while its end is told is none", () => {
    const store = new Store<string, number, never>(undefined)
    store.put("a", 1, second, 0)
    store.early = 100
    store.ending = (key) => {
      store.remove(key)
      store.put("b", 2, second, 950)
    }
    const slot = store.entries.get("a") ?? -1
    expect([store.use(slot, 950), store.entries.get("b")]).toEqual([false, slot])
  })
})

describe("weight", () => {
  it.scoped("that fractions left behind goes with the last entry", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<number, number, never>({
        span: forever,
        policy: new Recency(Number.POSITIVE_INFINITY),
        lookup: undefined,
        maxWeight: 1,
        weight: (value) => value
      })
      for (let key = 0; key < 100; key += 1) yield* cache.put(key % 7, 0.1 + (key % 10) / 100)
      for (let key = 0; key < 7; key += 1) yield* cache.delete(key)
      expect(service.store.weight).toBe(0)
      // As heavy as may be, so it is kept only if nothing else is counted.
      yield* cache.put(1, 1)
      expect(yield* cache.entries).toEqual([[1, 1]])
    })
  )
})
