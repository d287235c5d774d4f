import { BentoCache, bentostore } from "bentocache"
import { memoryDriver } from "bentocache/drivers/memory"

/** @param {number} entries @returns {Promise<(key: string) => Promise<number>>} */
export const fill = async (entries) => {
  const cache = new BentoCache({
    default: "memory",
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: entries * 2 })) }
  })
  for (let key = 0; key < entries; key += 1) await cache.set({ key: String(key), value: key, ttl: "1h" })
  return (key) => cache.getOrSet({ key, factory: () => Number.NaN, ttl: "1h" })
}
