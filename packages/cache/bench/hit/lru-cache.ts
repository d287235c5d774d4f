import { LRUCache } from "lru-cache"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { entries, IDLE, keys, validateSum } from "../keys.js"

const lruCache: Contestant<LRUCache<number, number>, number> = {
  setup: () => {
    const cache = new LRUCache<number, number>({ max: entries.length * 2, ttl: IDLE, updateAgeOnGet: true })
    for (const key of entries) cache.set(key, key)
    return cache
  },
  ops: keys.length,
  run: (cache) => {
    let sum = 0
    for (const key of keys) sum += cache.get(key) ?? Number.NaN
    return sum
  },
  validate: validateSum
}
export default lruCache
