import { createCache } from "async-cache-dedupe"

/** @param {import("../../../../../scripts/races/suite.mjs").Options} options @returns {Promise<import("../../../../../scripts/races/suite.mjs").Contestant>} */
export default async ({ capacity = 100, load }) => {
  const cache = createCache({
    ttl: 3600,
    storage: { type: "memory", options: { size: capacity, invalidation: true } }
  }).define("rows", { references: () => ["tag"] }, (key) => load(key))
  return {
    get: (key) => cache.rows(key),
    delete: (key) => cache.clear("rows", key),
    clear: () => cache.clear(),
    tag: () => cache.invalidate("rows", "tag")
  }
}
