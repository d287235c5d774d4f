/**
 * Recorded histories of one value that several fibers read and write, and what may be asked of them.
 *
 * An operation takes effect somewhere between its beginning and its end; both are ticks of one counter, so what ended before something else began came before it.
 */
export interface Operation {
  readonly kind: "read" | "write"
  readonly value: number
  readonly begin: number
  /** `Infinity` for a write of which nobody knows what became of it: it may take effect at any time later, or never. */
  readonly end: number
}

/** Records the operations of each key, as they go on. */
export class Recorder<K> {
  private ticks = 0
  readonly byKey = new Map<K, Array<Operation>>()

  tick(): number {
    this.ticks += 1
    return this.ticks
  }

  add(key: K, kind: Operation["kind"], value: number, begin: number): void {
    const operations = this.byKey.get(key) ?? []
    operations.push({ kind, value, begin, end: this.tick() })
    this.byKey.set(key, operations)
  }
}

/**
 * Whether there is an order of the operations, each at some point between its beginning and its end, in which every read reads what the write before it wrote
 * (Wing and Gong's search, which never comes twice to the same operations done with the same value).
 */
export const isLinearizable = (history: ReadonlyArray<Operation>, initial: number): boolean => {
  const operations = [...history].sort((one, other) => one.begin - other.begin)
  const seen = new Set<string>()
  const open: Array<readonly [done: bigint, value: number]> = [[0n, initial]]
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const [done, value] = state
    const left = operations.flatMap((operation, place) =>
      (done >> BigInt(place)) & 1n ? [] : [{ operation, bit: 1n << BigInt(place) }]
    )
    if (left.every(({ operation }) => operation.end === Number.POSITIVE_INFINITY)) return true
    const firstEnd = Math.min(...left.map(({ operation }) => operation.end))
    for (const { bit, operation } of left) {
      if (operation.begin > firstEnd || (operation.kind === "read" && operation.value !== value)) continue
      const next = [done | bit, operation.value] as const
      const name = `${next[0].toString(36)} ${next[1]}`
      if (seen.has(name)) continue
      seen.add(name)
      open.push(next)
    }
  }
  return false
}

/**
 * The reads that were served something older than the last write that was acknowledged before they began, or something that nobody had begun to write. Values
 * have to grow in the order in which they were committed.
 */
export const tooOld = (history: ReadonlyArray<Operation>, initial: number): ReadonlyArray<Operation> => {
  const writes = history.filter(({ kind }) => kind === "write")
  return history.filter((read) => {
    if (read.kind !== "read") return false
    const known = writes.filter(({ end }) => end < read.begin).map(({ value }) => value)
    const written = writes.some(({ begin, value }) => value === read.value && begin < read.end)
    return read.value < Math.max(initial, ...known) || !(written || read.value === initial)
  })
}

/** Numbers by chance that are the same again for the same seed. */
export const chance = (seed: number) => {
  let state = (seed * 2_654_435_761) >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
