import { createCache } from "async-cache-dedupe"

/** @param {number} entries @returns {Promise<(key: string) => Promise<number>>} */
export const fill = async (entries) => {
  let filled = false
  const cache = createCache({ ttl: 3600, storage: { type: "memory", options: { size: entries * 2 } } }).define(
    "numbers",
    async (key) => (filled ? Number.NaN : Number(key))
  )
  for (let key = 0; key < entries; key += 1) await cache.numbers(String(key))
  filled = true
  return (key) => cache.numbers(key)
}
