/**
 * Which entry leaves when a bounded cache is full: the one that was not used for the longest time (LRU).
 *
 * The entries hang in a list of their own, last used first. Everything is done in the step that inserts: the bound holds at every instant.
 */
import { Entry } from "./entry.js"

/** An entry of a bounded cache: it also knows its neighbours in the order of use. */
export class BoundedEntry<K, V> extends Entry<K, V> {
  newer: BoundedEntry<K, V> | undefined = undefined
  older: BoundedEntry<K, V> | undefined = undefined
}

export class Recency<K, V> {
  private newest: BoundedEntry<K, V> | undefined = undefined
  private oldest: BoundedEntry<K, V> | undefined = undefined

  constructor(readonly capacity: number) {}

  add(entry: BoundedEntry<K, V>): void {
    entry.older = this.newest
    if (this.newest !== undefined) this.newest.newer = entry
    this.newest = entry
    this.oldest ??= entry
  }

  use(entry: BoundedEntry<K, V>): void {
    if (this.newest === entry) return
    this.remove(entry)
    this.add(entry)
  }

  remove(entry: BoundedEntry<K, V>): void {
    if (entry.newer !== undefined) entry.newer.older = entry.older
    else if (this.newest === entry) this.newest = entry.older
    if (entry.older !== undefined) entry.older.newer = entry.newer
    else if (this.oldest === entry) this.oldest = entry.newer
    entry.newer = undefined
    entry.older = undefined
  }

  clear(): void {
    this.newest = undefined
    this.oldest = undefined
  }

  victim(): BoundedEntry<K, V> | undefined {
    return this.oldest
  }

  /** How many entries are in the order: a walk, for tests. */
  count(): number {
    let count = 0
    for (let entry = this.newest; entry !== undefined; entry = entry.older) count += 1
    return count
  }
}
