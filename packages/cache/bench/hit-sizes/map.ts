import { drawn } from "../drawn.js"
import { IDLE } from "../keys.js"

export default drawn(
  (entries) => {
    const cache = new Map<number, { readonly value: number; deadline: number }>()
    for (let key = 0; key < entries; key += 1) cache.set(key, { value: key, deadline: performance.now() + IDLE })
    return cache
  },
  (cache, keys) => {
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
  }
)
