import type { Timed } from "./expiry.js"
import type { Keyed } from "./keyMap.js"

/** One value of the cache and the times that end it. Another write under the same key makes another entry. */
export class Entry<K, V> implements Keyed<K>, Timed {
  before: Timed | undefined = undefined
  after: Timed | undefined = undefined

  constructor(
    readonly key: K,
    readonly value: V,
    /** Milliseconds that each read grants. */
    public idle: number,
    /** No read moves the deadline past this. */
    public end: number,
    public deadline: number
  ) {}

  renew(now: number): void {
    if (this.idle === Number.POSITIVE_INFINITY) return
    this.deadline = Math.min(now + this.idle, this.end)
  }
}
