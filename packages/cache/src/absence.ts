/**
 * What is known not to be there: keys for which a load brought nothing, or failed, kept for a lifetime of their own.
 *
 * They are no entries. A read comes here only when it found none, so that a hit costs nothing for it, and they take no room from values: there are as many
 * as the cache may hold values, at most, and of more the oldest gives way.
 */
import type { Exit, Option } from "effect"
import type { Timed } from "./expiry.js"
import { type Keyed, KeyMap } from "./keyMap.js"

export class Absence<K, V, E> implements Keyed<K>, Timed {
  before: Timed | undefined = undefined
  after: Timed | undefined = undefined

  constructor(
    readonly key: K,
    /** What the load came to. */
    readonly exit: Exit.Exit<Option.Option<V>, E>,
    readonly deadline: number
  ) {}
}

export class Absences<K, V, E> {
  private readonly known = new KeyMap<K, Absence<K, V, E>>()

  constructor(private readonly capacity: number) {}

  get size(): number {
    return this.known.size
  }

  get(key: K): Absence<K, V, E> | undefined {
    return this.known.size === 0 ? undefined : this.known.get(key)
  }

  /** Adds one and answers which one had to go for it. */
  add(absence: Absence<K, V, E>): Absence<K, V, E> | undefined {
    let oldest: Absence<K, V, E> | undefined
    if (this.known.size >= this.capacity) for (oldest of this.known.values()) break
    if (oldest !== undefined) this.known.remove(oldest)
    this.known.set(absence)
    return oldest
  }

  remove(absence: Absence<K, V, E>): boolean {
    return this.known.remove(absence)
  }

  values(): IterableIterator<Absence<K, V, E>> {
    return this.known.values()
  }

  clear(): void {
    this.known.clear()
  }
}
