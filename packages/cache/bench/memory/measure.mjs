/** What an entry takes beside its key and its value: run with `node --expose-gc`, once for each contestant. */
import { Cache } from "@effecto/cache"
import { Effect, Cache as EffectCache, Scope } from "effect"
import { LRUCache } from "lru-cache"

const ENTRIES = 1_000_000
const IDLE = 3_600_000
// One value and keys that are small integers: neither takes memory of its own.
const value = { shared: true }

const contestants = {
  map: () => {
    const map = new Map()
    for (let key = 0; key < ENTRIES; key += 1) map.set(key, value)
    return map
  },
  "lru-cache": () => {
    const cache = new LRUCache({ max: ENTRIES, ttl: IDLE, updateAgeOnGet: true })
    for (let key = 0; key < ENTRIES; key += 1) cache.set(key, value)
    return cache
  },
  effecto: () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const cache = yield* Scope.extend(Cache.make({ name: "memory", idle: IDLE }), yield* Scope.make())
        for (let key = 0; key < ENTRIES; key += 1) yield* cache.put(key, value)
        return cache
      })
    ),
  "effecto-bounded": () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const cache = yield* Scope.extend(
          Cache.make({ name: "memory", idle: IDLE, capacity: ENTRIES }),
          yield* Scope.make()
        )
        for (let key = 0; key < ENTRIES; key += 1) yield* cache.put(key, value)
        return cache
      })
    ),
  "effect-cache": () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const cache = yield* EffectCache.make({
          capacity: ENTRIES,
          timeToLive: IDLE,
          lookup: () => Effect.succeed(value)
        })
        for (let key = 0; key < ENTRIES; key += 1) yield* cache.set(key, value)
        return cache
      })
    )
}

const used = () => {
  for (let times = 0; times < 4; times += 1) globalThis.gc()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const name = process.argv[2] ?? "effecto"
const before = used()
const held = await contestants[name]()
await new Promise((resolve) => setTimeout(resolve, 50))
process.stdout.write(`${name.padEnd(16)} ${((used() - before) / ENTRIES).toFixed(1)} B per entry\n`)
globalThis.held = held
process.exit(0)
