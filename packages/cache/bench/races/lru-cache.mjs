import { LRUCache } from "lru-cache"

/** @param {import("../../../../scripts/races/suite.mjs").Options} options @returns {Promise<import("../../../../scripts/races/suite.mjs").Contestant>} */
export default async ({ capacity = 100, load }) => {
  const cache = new LRUCache({ max: capacity, ttl: 3_600_000, fetchMethod: (/** @type {string} */ key) => load(key) })
  return {
    get: (key) => cache.fetch(key),
    delete: async (key) => cache.delete(key),
    clear: async () => cache.clear(),
    set: async (key, value) => cache.set(key, value)
  }
}
