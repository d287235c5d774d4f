/** The same keys for every contestant: Zipf with exponent 0.99 over 1,000 entries unless it says otherwise, from a seeded generator. */

const ENTRIES = 1_000
const DRAWS = 20_000

/** mulberry32: small, seeded, good enough to draw keys with. */
const random = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
}

export const zipf = (entries: number, draws: number): Array<number> => {
  const next = random(7)
  const cumulative = new Float64Array(entries)
  let sum = 0
  for (let rank = 0; rank < entries; rank += 1) {
    sum += 1 / (rank + 1) ** 0.99
    cumulative[rank] = sum
  }
  // Ranks are spread over the keys, so that hot keys are not neighbours in memory.
  const keyOfRank = Array.from({ length: entries }, (_, key) => key)
  for (let last = entries - 1; last > 0; last -= 1) {
    const other = Math.floor(next() * (last + 1))
    const kept = keyOfRank[last] ?? 0
    keyOfRank[last] = keyOfRank[other] ?? 0
    keyOfRank[other] = kept
  }
  return Array.from({ length: draws }, () => {
    const wanted = next() * sum
    let low = 0
    let high = entries - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((cumulative[middle] ?? 0) < wanted) low = middle + 1
      else high = middle
    }
    return keyOfRank[low] ?? 0
  })
}

/** All keys alike. */
export const uniform = (entries: number, draws: number): Array<number> => {
  const next = random(11)
  return Array.from({ length: draws }, () => Math.floor(next() * entries))
}

export const entries: ReadonlyArray<number> = Array.from({ length: ENTRIES }, (_, key) => key)
export const keys: ReadonlyArray<number> = zipf(ENTRIES, DRAWS)
export const sumOfKeys: number = keys.reduce((sum, key) => sum + key, 0)
export const IDLE = 600_000

export const validateSum = (sum: number): void => {
  if (sum !== sumOfKeys) throw new Error(`the hits add up to ${sum}, not to ${sumOfKeys}`)
}
