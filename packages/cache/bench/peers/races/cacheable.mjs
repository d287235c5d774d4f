import { Cacheable, CacheableMemory, Keyv } from "cacheable"

/** @param {import("../../../../../scripts/races/suite.mjs").Options} options @returns {Promise<import("../../../../../scripts/races/suite.mjs").Contestant>} */
export default async ({ capacity = 100, load }) => {
  const cache = new Cacheable({ primary: new Keyv({ store: new CacheableMemory({ lruSize: capacity }) }) })
  return {
    get: (key) => cache.getOrSet(key, () => load(key), { ttl: "1h", throwErrors: true }),
    delete: (key) => cache.delete(key),
    clear: () => cache.clear(),
    set: (key, value) => cache.set(key, value)
  }
}
