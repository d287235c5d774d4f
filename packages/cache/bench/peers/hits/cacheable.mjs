import { Cacheable, CacheableMemory, Keyv } from "cacheable"

/** @param {number} entries @returns {Promise<(key: string) => Promise<number>>} */
export const fill = async (entries) => {
  const cache = new Cacheable({ primary: new Keyv({ store: new CacheableMemory({ lruSize: entries * 2 }) }) })
  for (let key = 0; key < entries; key += 1) await cache.set(String(key), key, "1h")
  return async (key) => (await cache.getOrSet(key, async () => Number.NaN, { ttl: "1h" })) ?? Number.NaN
}
