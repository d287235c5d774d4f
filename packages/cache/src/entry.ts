import type { Timed } from "./expiry.js"
import type { Keyed } from "./keyMap.js"

/** What ends an entry. Entries without an end of their own, which are most, share one of these. */
export interface Life {
  /** Milliseconds that each read grants. */
  readonly idle: number
  /** No read moves the deadline past this. */
  readonly end: number
}

/** One value of the cache and the times that end it. Another write under the same key makes another entry. */
export class Entry<K, V> implements Keyed<K>, Timed {
  before: Timed | undefined = undefined
  after: Timed | undefined = undefined

  constructor(
    readonly key: K,
    readonly value: V,
    public life: Life,
    public deadline: number
  ) {}

  renew(now: number): void {
    const { end, idle } = this.life
    if (idle !== Number.POSITIVE_INFINITY) this.deadline = Math.min(now + idle, end)
  }
}
