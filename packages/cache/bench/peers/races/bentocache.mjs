import { BentoCache, bentostore } from "bentocache"
import { memoryDriver } from "bentocache/drivers/memory"

/** @param {import("../../../../../scripts/races/suite.mjs").Options} options @returns {Promise<import("../../../../../scripts/races/suite.mjs").Contestant>} */
export default async ({ capacity = 100, load }) => {
  const cache = new BentoCache({
    default: "memory",
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: capacity })) }
  })
  return {
    get: (key) => cache.getOrSet({ key, factory: () => load(key), ttl: "1h", tags: ["tag"] }),
    delete: (key) => cache.delete({ key }),
    clear: () => cache.clear(),
    set: (key, value) => cache.set({ key, value }),
    tag: () => cache.deleteByTag({ tags: ["tag"] }),
    close: () => cache.disconnectAll()
  }
}
