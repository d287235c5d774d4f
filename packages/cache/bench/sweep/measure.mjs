/** How long the sweep keeps the event loop from its turn while a million entries expire within a second, and whether all memory comes back. */
import { Cache } from "@effecto/cache"
import { Effect, Scope } from "effect"

const ENTRIES = 1_000_000
/** When the first of them expires, in milliseconds: by then all are written, on a busy machine as well. */
const FIRST = 20_000

const cache = await Effect.runPromise(
  Effect.gen(function* () {
    return yield* Scope.extend(Cache.make({ name: "sweep" }), yield* Scope.make())
  })
)
const start = performance.now()
// Written at once, expiring within the second from then on.
await Effect.runPromise(
  Effect.gen(function* () {
    for (let key = 0; key < ENTRIES; key += 1)
      yield* cache.put(key, key, { max: FIRST + (key % 1_000) - Math.floor(performance.now() - start) })
  })
)
globalThis.gc()
// The longest by the clock, which a busy machine makes longer, each with the processor's time in it, in which the collector's own threads count too.
const longest = [0, 0, 0, 0, 0].map(() => ({ wall: 0, work: 0 }))
let last = performance.now()
let cpu = process.cpuUsage()
const turn = () => {
  const now = performance.now()
  const wall = now - last
  const used = process.cpuUsage()
  const shortest = longest.at(-1)
  if (wall > shortest.wall) {
    shortest.wall = wall
    shortest.work = (used.user + used.system - cpu.user - cpu.system) / 1_000
    longest.sort((one, other) => other.wall - one.wall)
  }
  cpu = used
  last = performance.now()
  if (now - start < FIRST + 3_500) setImmediate(turn)
  else void report()
}
const report = async () => {
  // Sweeps first what a busy machine has left.
  const { expirations, size } = await Effect.runPromise(cache.stats)
  const shown = longest.map(({ wall, work }) => `${wall.toFixed(1)} (${work.toFixed(1)})`).join(", ")
  process.stdout.write(
    `longest turns of the event loop, and the processor's time in them: ${shown} ms; expired ${expirations} of ${ENTRIES}, left ${size}\n`
  )
  process.exit(0)
}
last = performance.now()
cpu = process.cpuUsage()
setImmediate(turn)
