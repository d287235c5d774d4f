/**
 * The map of a cache and whatever is filed beside it, as one synchronous object.
 *
 * There is no effect in here: each method looks, decides and writes in one step, so between two fibers there is nothing to interleave. Two tables
 * hold a key's state: `entries` what can be served, `loads` what is being loaded. Identity decides in both:
 *
 *   - a load is allowed to publish only while `loads` still holds that very load; `put`, `remove` and `clear` take it out, so what it read
 *     before them is handed to those who were already waiting and to nobody else;
 *   - expiry and eviction remove the very entry they looked at; what was written in its place stays.
 *
 * So there is no generation to count and no tombstone to keep, and all memory for a key goes when its entry does.
 */
import { Entry, type Life } from "./entry.js"
import { BoundedEntry, type Policy } from "./eviction.js"
import { Expiry, type Timed } from "./expiry.js"
import { KeyMap } from "./keyMap.js"
import type { Span } from "./lifetime.js"
import type { Load } from "./load.js"

/** What a cache has done so far. */
export interface Counters {
  hits: number
  misses: number
  loads: number
  loadFailures: number
  revokedLoads: number
  expirations: number
  evictions: number
}

export class Store<K, V, E> {
  readonly _tag = "Open"
  readonly entries = new KeyMap<K, Entry<K, V>>()
  readonly loads = new KeyMap<K, Load<K, V, E>>()
  readonly expiry = new Expiry()
  readonly counters: Counters = {
    hits: 0,
    misses: 0,
    loads: 0,
    loadFailures: 0,
    revokedLoads: 0,
    expirations: 0,
    evictions: 0
  }
  /** When the sweeper will look next; what is filed before that wakes it. */
  armed = Number.NEGATIVE_INFINITY
  wake: (() => void) | undefined = undefined
  /** What the entry written last without a max lives by. */
  private life: Life = { idle: Number.POSITIVE_INFINITY, end: Number.POSITIVE_INFINITY }

  /** A bounded store makes bounded entries and no others: with a policy, every entry is one. */
  constructor(readonly policy: Policy<K, V> | undefined) {}

  /** Reads an entry: renews it and says yes, or removes it because it is expired. */
  use(entry: Entry<K, V>, now: number): boolean {
    if (now >= entry.deadline) {
      this.expire(entry)
      return false
    }
    this.touch(entry, now)
    return true
  }

  /** What a read does to an entry. */
  touch(entry: Entry<K, V>, now: number): void {
    entry.renew(now)
    if (this.policy !== undefined) this.policy.use(entry as BoundedEntry<K, V>)
  }

  /** The entry that may be served at `now`, left as it is. */
  peek(key: K, now: number): Entry<K, V> | undefined {
    const entry = this.entries.get(key)
    return entry === undefined || now >= entry.deadline ? undefined : entry
  }

  /** Writes a value whatever was there, and takes the right to publish from a load of that key. */
  put(key: K, value: V, span: Span, now: number): void {
    this.revoke(key)
    this.write(key, value, span, now)
  }

  /** Writes what a load brought, unless the load has lost that right. */
  publish(load: Load<K, V, E>, value: V, span: Span, now: number): boolean {
    if (!this.loads.remove(load)) return false
    this.write(load.key, value, span, now)
    return true
  }

  remove(key: K): void {
    this.revoke(key)
    const entry = this.entries.get(key)
    if (entry !== undefined) this.drop(entry)
  }

  /** Puts another value in the place of this entry, with the lifetime that it has left to it. */
  replace(entry: Entry<K, V>, value: V, now: number): void {
    this.put(entry.key, value, { idle: entry.life.idle, max: entry.life.end - now }, now)
  }

  /** Gives this entry another lifetime, from now on. */
  retime(entry: Entry<K, V>, span: Span, now: number): void {
    entry.life = this.lifeOf(span, now)
    entry.deadline = Math.min(now + span.idle, entry.life.end)
    if (entry.deadline <= now) {
      this.expire(entry)
      return
    }
    this.expiry.unfile(entry)
    this.file(entry, now)
  }

  clear(): void {
    this.counters.revokedLoads += this.loads.size
    this.loads.clear()
    this.entries.clear()
    this.expiry.clear()
    this.policy?.clear()
  }

  /** How many entries can be served at `now`. */
  size(now: number): number {
    this.expiry.sweepAll(now, this.expired)
    return this.entries.size
  }

  /** What the function makes of every entry that can be served at `now`. */
  list<A>(now: number, f: (entry: Entry<K, V>) => A, chosen?: (key: K) => boolean): Array<A> {
    const all: Array<A> = []
    for (const entry of this.entries.values()) {
      if (now < entry.deadline && (chosen === undefined || chosen(entry.key))) all.push(f(entry))
    }
    return all
  }

  /** Removes what is expired, looking at `limit` entries at most; says whether it got to the end. */
  sweep(now: number, limit: number): boolean {
    return this.expiry.sweep(now, limit, this.expired)
  }

  private readonly expired = (entry: Timed): void => this.expire(entry as Entry<K, V>) // nothing else is ever filed

  private expire(entry: Entry<K, V>): void {
    this.counters.expirations += 1
    this.drop(entry)
  }

  private revoke(key: K): void {
    if (this.loads.size === 0) return
    const load = this.loads.get(key)
    if (load !== undefined && this.loads.remove(load)) this.counters.revokedLoads += 1
  }

  private drop(entry: Entry<K, V>): void {
    this.entries.remove(entry)
    this.expiry.unfile(entry)
    if (this.policy !== undefined) this.policy.remove(entry as BoundedEntry<K, V>)
  }

  private write(key: K, value: V, span: Span, now: number): void {
    const there = this.entries.get(key)
    const deadline = now + Math.min(span.idle, span.max)
    if (deadline <= now) {
      if (there !== undefined) this.drop(there)
      return
    }
    if (there !== undefined) this.expiry.unfile(there)
    const life = this.lifeOf(span, now)
    const policy = this.policy
    if (policy === undefined) {
      const entry = new Entry(key, value, life, deadline)
      this.entries.set(entry)
      this.file(entry, now)
      return
    }
    const entry = new BoundedEntry(key, value, life, deadline)
    this.entries.set(entry)
    this.file(entry, now)
    policy.add(entry, there as BoundedEntry<K, V> | undefined)
    while (this.entries.size > policy.capacity) {
      const victim = policy.victim()
      if (victim === undefined) return
      this.counters.evictions += 1
      this.drop(victim)
    }
  }

  private lifeOf({ idle, max }: Span, now: number): Life {
    if (max !== Number.POSITIVE_INFINITY) return { idle, end: now + max }
    if (this.life.idle !== idle) this.life = { idle, end: Number.POSITIVE_INFINITY }
    return this.life
  }

  private file(entry: Entry<K, V>, now: number): void {
    this.expiry.file(entry, now)
    if (this.expiry.due < this.armed) this.wake?.()
  }
}
