import { LRUCache } from "lru-cache"
import { drawn } from "../drawn.js"
import { IDLE } from "../keys.js"

export default drawn(
  (entries) => {
    const cache = new LRUCache<number, number>({ max: entries * 2, ttl: IDLE, updateAgeOnGet: true })
    for (let key = 0; key < entries; key += 1) cache.set(key, key)
    return cache
  },
  (cache, keys) => {
    let sum = 0
    for (const key of keys) sum += cache.get(key) ?? Number.NaN
    return sum
  }
)
