import type { Timed } from "./expiry.js"
import type { Keyed } from "./keyMap.js"

/** What ends an entry. */
export interface Life {
  /** Milliseconds that each read grants. */
  readonly idle: number
  /** No read moves the deadline past this. */
  readonly end: number
}

/**
 * One value of the cache and the times that end it. Another write under the same key makes another entry.
 *
 * Most entries of a cache live by what it usually grants, and do not say so each for itself: that would be a twelfth of what an entry takes. Those that live
 * otherwise are `LivedEntry`.
 */
export class Entry<K, V> implements Keyed<K>, Timed {
  before: Timed | undefined = undefined
  after: Timed | undefined = undefined

  constructor(
    readonly key: K,
    readonly value: V,
    public deadline: number
  ) {}

  /** What it lives by, where entries usually live by this. */
  lifeOr(usual: Life): Life {
    return usual
  }

  renew(now: number, { idle }: Life): void {
    // The usual life has no end of its own.
    if (idle !== Number.POSITIVE_INFINITY) this.deadline = now + idle
  }
}

export class LivedEntry<K, V> extends Entry<K, V> {
  constructor(
    key: K,
    value: V,
    deadline: number,
    public life: Life
  ) {
    super(key, value, deadline)
  }

  override lifeOr(): Life {
    return this.life
  }

  override renew(now: number): void {
    const { end, idle } = this.life
    if (idle !== Number.POSITIVE_INFINITY) this.deadline = Math.min(now + idle, end)
  }
}
