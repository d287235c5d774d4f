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
import type { Timeline } from "./timeline.js"

export interface Member<K> {
  readonly evict: (key: K) => void
  readonly evictAll: () => void
  readonly evictTag: (tag: string) => void
  /** Tells the hooks that a key was evicted, if there are any. */
  readonly told: ((key: K, had: boolean) => Effect.Effect<unknown>) | undefined
  readonly fork: (effect: Effect.Effect<unknown>) => void
}

/** What an instance held when it ended: nothing that was evicted since. */
export interface Kept<K> {
  readonly store: {
    readonly remove: (key: K) => void
    readonly clear: () => void
    readonly invalidateTag: (tag: string, now: number) => number
  }
  readonly timeline: Timeline
}

export class Succession<K> {
  /** What open transactions have written. */
  readonly dirt = new Dirt<K>()
  /** What is being written by somebody, and must not be served to anybody until that has ended. */
  readonly locks = new Dirt<K>()
  /** What the last one has left to the next. */
  kept: Kept<K> | undefined = undefined
  /** Those who live, in the order in which they came. */
  readonly living = new Set<Member<K>>()

  get newest(): Member<K> | undefined {
    let newest: Member<K> | undefined
    for (const member of this.living) newest = member
    return newest
  }

  evict(key: K): void {
    this.kept?.store.remove(key)
    for (const member of this.living) member.evict(key)
  }

  evictAll(): void {
    this.kept?.store.clear()
    for (const member of this.living) member.evictAll()
  }

  evictTag(tag: string): void {
    this.kept?.store.invalidateTag(tag, Number.POSITIVE_INFINITY)
    for (const member of this.living) member.evictTag(tag)
  }
}
