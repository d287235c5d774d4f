/**
 * The instances of one and the same cache, which follow each other when it is restarted.
 *
 *        build ──▶ instance 1 ──(dies)     build ──▶ instance 2 ──▶ …
 *                     │ marks what a transaction writes      ▲
 *                     └───────────── COMMIT ── evicts ───────┘
 *
 * A write may begin under one instance and end under the next: in between, the successor has rightly loaded the old value, for nothing was committed yet. So what
 * is to be evicted is not told to the instance that was asked, but to whichever live when it is done; and what open transactions have written is marked here,
 * so that they read around the successor, too. One of these exists for each effect that `Cache.make` and each layer that `Cache.layer` answers. It may be
 * built several times at once (`Layer.fresh`, two runtimes); then all who live are told, for nobody can say which of them is the successor, and
 * forgetting too much does no harm.
 */
import type { Effect } from "effect"
import { Dirt } from "./dirt.js"

export interface Member<K> {
  readonly evict: (key: K) => void
  readonly evictAll: () => void
  /** Tells the hooks that a key was evicted, if there are any. */
  readonly told: ((key: K, had: boolean) => Effect.Effect<unknown>) | undefined
  readonly fork: (effect: Effect.Effect<unknown>) => void
}

export class Succession<K> {
  /** What open transactions have written. */
  readonly dirt = new Dirt<K>()
  /** Those who live, in the order in which they came. */
  readonly living = new Set<Member<K>>()

  get newest(): Member<K> | undefined {
    let newest: Member<K> | undefined
    for (const member of this.living) newest = member
    return newest
  }

  evict(key: K): void {
    for (const member of this.living) member.evict(key)
  }

  evictAll(): void {
    for (const member of this.living) member.evictAll()
  }
}
