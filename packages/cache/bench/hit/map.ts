import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { entries, IDLE, keys, validateSum } from "../keys.js"

interface Timed {
  readonly value: number
  deadline: number
}

/** The least that a sliding lifetime takes: a lookup, a look at the clock, a comparison and a store. */
const map: Contestant<Map<number, Timed>, number> = {
  setup: () => new Map(entries.map((key) => [key, { value: key, deadline: performance.now() + IDLE }])),
  ops: keys.length,
  run: (cache) => {
    let sum = 0
    for (const key of keys) {
      const entry = cache.get(key)
      const now = performance.now()
      if (entry !== undefined && now < entry.deadline) {
        entry.deadline = now + IDLE
        sum += entry.value
      }
    }
    return sum
  },
  validate: validateSum
}
export default map
