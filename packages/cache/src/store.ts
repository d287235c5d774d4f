/**
 * The map of a cache and whatever is filed beside it, as one synchronous object.
 *
 * There is no effect in here: each method looks, decides and writes in one step, so between two fibers there is nothing to interleave. Three tables
 * hold a key's state: `entries` what can be served, `loads` what is being loaded, `absences` what is known not to be there. Identity decides in all of them:
 *
 *   - a load is allowed to publish only while `loads` still holds that very load; `put`, `remove` and `clear` take it out, so what it read
 *     before them is handed to those who were already waiting and to nobody else;
 *   - expiry and eviction remove the very entry they looked at: they look and remove in one step, in which its slot can come to nobody else.
 *
 * So there is no generation to count and no tombstone to keep, and all memory for a key goes when its entry does.
 */
import type { Exit, Option } from "effect"
import { Absences } from "./absence.js"
import { Entries } from "./entries.js"
import type { Policy } from "./eviction.js"
import type { Expiry } from "./expiry.js"
import type { HitAges } from "./hitages.js"
import { KeyMap, keyOf } from "./keyMap.js"
import type { Span } from "./lifetime.js"
import type { Load } from "./load.js"
import type { Slot } from "./slot.js"

/** What a cache has done so far. */
export interface Counters {
  hits: number
  misses: number
  loads: number
  loadFailures: number
  revokedLoads: number
  expirations: number
  evictions: number
  replacements: number
  invalidations: number
  staleServes: number
  refreshes: number
  /** Milliseconds that loads took, together. */
  loadTime: number
}

/** Why an entry is no longer there. */
export type Cause = "expired" | "invalidated" | "replaced" | "evicted" | "closed"

/** What a value is filed under beside its key. It is made before anything is changed, for it takes the user's functions. */
export interface Extra {
  readonly tags: ReadonlyArray<string>
  readonly weight: number
}

/** Steps towards giving memory back, for each entry that is removed. */
const SETTLED_AT_ONCE = 4

const PLAIN: Extra = { tags: [], weight: 0 }

export interface StoreOptions {
  /** Milliseconds that a read grants an entry without a lifetime of its own. */
  readonly idle?: number | undefined
  /** Milliseconds for which an expired entry is kept, to be served when nothing better comes. */
  readonly grace?: number | undefined
  /** How much all values may weigh together. */
  readonly maxWeight?: number | undefined
}

export class Store<K, V, E> {
  readonly _tag = "Open"
  entries: Entries<K, V>
  readonly loads = new KeyMap<K, Load<K, V, E>>(keyOf)
  absences: Absences<K, V, E>
  readonly grace: number
  private readonly maxWeight: number
  /** What all entries weigh together. */
  weight = 0
  /** How many tags were invalidated so far: who came before which of them. */
  turn = 0
  /** Told of each entry that goes, in the step in which it goes: only to take note. */
  removed: ((key: K, value: V, cause: Cause) => void) | undefined = undefined
  /** So long before its end an entry may be refreshed. */
  early = 0
  /** Told of an entry that was read so shortly before its end. */
  ending: ((key: K, left: number) => void) | undefined = undefined
  /** How old was what was served, where that is wanted. */
  readonly ages: HitAges | undefined = undefined
  readonly counters: Counters = {
    hits: 0,
    misses: 0,
    loads: 0,
    loadFailures: 0,
    revokedLoads: 0,
    expirations: 0,
    evictions: 0,
    replacements: 0,
    invalidations: 0,
    staleServes: 0,
    refreshes: 0,
    loadTime: 0
  }
  /** When the sweeper will look next; what is filed before that wakes it. */
  armed = Number.NEGATIVE_INFINITY
  wake: (() => void) | undefined = undefined
  private readonly idle: number | undefined

  constructor(
    public policy: Policy<K> | undefined,
    options: StoreOptions = {}
  ) {
    this.grace = options.grace ?? 0
    this.idle = options.idle
    this.maxWeight = options.maxWeight ?? Number.POSITIVE_INFINITY
    const capacity = policy?.capacity ?? Number.POSITIVE_INFINITY
    this.entries = new Entries({ idle: options.idle, grace: this.grace, most: capacity, beside: policy })
    this.absences = new Absences(capacity)
  }

  /** Reads an entry: renews it and says yes, or removes it because it is expired. */
  use(slot: Slot, now: number): boolean {
    if (now >= this.entries.deadlineOf(slot) - this.early) return this.useLate(slot, now)
    this.touch(slot, now)
    return true
  }

  private useLate(slot: Slot, now: number): boolean {
    const deadline = this.entries.deadlineOf(slot)
    if (now >= deadline) {
      if (now >= deadline + this.grace) this.expire(slot)
      return false
    }
    this.touch(slot, now)
    const left = this.entries.endOf(slot) - now
    if (left > this.early || this.ending === undefined) return true
    const key = this.entries.keyOf(slot)
    this.ending(key, left)
    // Who is told reads a Clock, which may be anybody's code.
    return this.entries.get(key) === slot
  }

  /** What a read does to an entry. */
  touch(slot: Slot, now: number): void {
    this.entries.renew(slot, now)
    if (this.policy !== undefined) this.policy.use(slot)
  }

  /** What is under the key, be it expired or not. */
  held(key: K): V | undefined {
    const slot = this.entries.get(key)
    return slot === undefined ? undefined : this.entries.valueOf(slot)
  }

  /** The entry that may be served at `now`, left as it is. */
  peek(key: K, now: number): Slot | undefined {
    const slot = this.entries.get(key)
    return slot === undefined || now >= this.entries.deadlineOf(slot) ? undefined : slot
  }

  /** The entry that has expired, and may still be served if nothing better comes. */
  stale(key: K, now: number): Slot | undefined {
    if (this.grace === 0) return undefined
    const slot = this.entries.get(key)
    if (slot === undefined) return undefined
    const deadline = this.entries.deadlineOf(slot)
    return now >= deadline && now < deadline + this.grace ? slot : undefined
  }

  /** What a load came to that brought nothing, where that is known. */
  absent(key: K, now: number): Exit.Exit<Option.Option<V>, E> | undefined {
    const slot = this.absences.get(key)
    return slot === undefined || now >= this.absences.deadlineOf(slot) ? undefined : this.absences.valueOf(slot)
  }

  /** Writes a value whatever was there, and takes the right to publish from a load of that key. */
  put(key: K, value: V, span: Span, now: number, extra: Extra = PLAIN): void {
    this.revoke(key)
    this.write(key, value, span, now, extra)
  }

  /** Whether a load may say what is under its key: from then on it may not any more. */
  claim(load: Load<K, V, E>, tags: ReadonlyArray<string> = load.tags): boolean {
    if (load.overtake(tags)) {
      if (this.loads.remove(load.key, load)) this.counters.revokedLoads += 1
      return false
    }
    return this.loads.remove(load.key, load)
  }

  /** Writes what a load brought, unless the load has lost that right. */
  publish(load: Load<K, V, E>, value: V, span: Span, now: number, extra: Extra = PLAIN): boolean {
    if (!this.claim(load, extra.tags)) return false
    this.write(load.key, value, span, now, extra)
    return true
  }

  /** Removes what is under the key, and keeps for that long that a load came to this. The load has claimed the key. */
  deny(key: K, exit: Exit.Exit<Option.Option<V>, E>, millis: number, now: number, tags: ReadonlyArray<string>): void {
    this.admit(key)
    if (!(millis > 0)) return
    const { oldest } = this.absences
    if (oldest !== undefined) this.absences.remove(oldest)
    const slot = this.absences.add(key, exit, now + millis)
    this.absences.tags.add(slot, tags)
    this.file(this.absences, slot, now)
  }

  remove(key: K): void {
    this.revoke(key)
    this.admit(key)
    this.dropOf(key)
  }

  /** Removes the entry that is under the key, if any. */
  dropOf(key: K): void {
    const slot = this.entries.get(key)
    if (slot === undefined) return
    this.invalidate(slot)
    this.settle(SETTLED_AT_ONCE)
  }

  /** Takes the right to publish from the load of this key. */
  revoke(key: K): void {
    if (this.loads.size === 0) return
    const load = this.loads.get(key)
    if (load !== undefined && this.loads.remove(key, load)) this.counters.revokedLoads += 1
  }

  /**
   * Removes what carries the tag, and keeps loads that began before from publishing what does. Answers how many entries could have been served.
   */
  invalidateTag(tag: string, now: number): number {
    this.turn += 1
    let count = 0
    for (const slot of this.absences.tags.with(tag)) this.absences.remove(slot)
    const tagged = this.entries.tags.with(tag)
    for (const slot of tagged) {
      if (now < this.entries.deadlineOf(slot)) count += 1
      this.invalidate(slot)
    }
    this.settle(tagged.length * SETTLED_AT_ONCE)
    for (const load of [...this.loads.values()]) {
      if (load.tags.includes(tag)) this.revoke(load.key)
      else if (load.mayHaveMore) load.shake(tag, this.turn)
    }
    return count
  }

  /** The tags of what is under the key. */
  tagsOf(key: K): ReadonlyArray<string> {
    const slot = this.entries.get(key)
    return slot === undefined ? [] : this.entries.tags.of(slot)
  }

  /** How many entries carry the tag that can be served at `now`. */
  countTag(tag: string, now: number): number {
    return this.entries.tags.with(tag).filter((slot) => now < this.entries.deadlineOf(slot)).length
  }

  /** Gives this entry another lifetime, from now on. */
  retime(slot: Slot, span: Span, now: number): void {
    const end = now + span.max
    const deadline = Math.min(now + span.idle, end)
    if (deadline <= now) {
      this.expire(slot)
      this.settle(SETTLED_AT_ONCE)
      return
    }
    const { entries } = this
    entries.expiry.unfile(slot)
    entries.live(slot, span.idle, end)
    entries.deadlines[slot] = deadline
    this.file(entries, slot, now)
  }

  clear(cause: Cause = "invalidated"): void {
    const { entries, removed } = this
    this.counters.revokedLoads += this.loads.size
    if (cause === "invalidated") this.counters.invalidations += entries.size
    const gone =
      removed === undefined
        ? []
        : Array.from(entries.all(), (slot) => [entries.keyOf(slot), entries.valueOf(slot)] as const)
    this.loads.clear()
    this.policy?.clear()
    entries.clear()
    this.absences.clear()
    this.weight = 0
    for (const [key, value] of gone) removed?.(key, value, cause)
  }

  /** Another store with everything that is held in this one, which is empty from then on. Loads stay: whoever began them has ended. */
  handOver(): Store<K, V, E> {
    const heir = this.heir(this.policy, { grace: this.grace, idle: this.idle, maxWeight: this.maxWeight })
    const { absences, entries, weight } = this
    this.entries = new Entries()
    this.absences = heir.absences
    this.policy = undefined
    this.weight = 0
    heir.entries = entries
    heir.absences = absences
    heir.weight = weight
    return heir
  }

  /** How many entries can be served at `now`: removes those that cannot, in one go. */
  size(now: number): number {
    this.absences.expiry.sweepAll(now, this.forgotten)
    this.entries.expiry.sweepAll(now, this.expired)
    if (this.grace === 0) return this.entries.size
    let size = 0
    for (const slot of this.entries.all()) if (now < this.entries.deadlineOf(slot)) size += 1
    return size
  }

  /** Whether all that is held can be served. */
  isAllAlive(now: number): boolean {
    return this.grace === 0 && !this.entries.expiry.mayHaveExpired(now)
  }

  /** What the function makes of every entry that can be served at `now`. */
  list<A>(now: number, f: (slot: Slot, now: number, store: this) => A, chosen?: (key: K) => boolean): Array<A> {
    const { entries } = this
    const all: Array<A> = []
    for (const slot of entries.all()) {
      if (now < entries.deadlineOf(slot) && (chosen === undefined || chosen(entries.keyOf(slot))))
        all.push(f(slot, now, this))
    }
    return all
  }

  /** When there is something to sweep, `Infinity` if nothing expires. */
  get due(): number {
    return Math.min(this.entries.expiry.due, this.absences.expiry.due)
  }

  /** Whether there is no memory to give back. */
  get isSettled(): boolean {
    return this.entries.isSettled && this.absences.isSettled
  }

  /** Removes what is expired, looking at `limit` entries at most; says whether it got to the end. */
  sweep(now: number, limit: number): boolean {
    return (
      this.absences.expiry.sweep(now, limit, this.forgotten) &&
      this.entries.expiry.sweep(now, limit, this.expired) &&
      this.absences.settle(limit) &&
      this.entries.settle(limit)
    )
  }

  private readonly expired = (slot: Slot): void => this.expire(slot)
  private readonly forgotten = (slot: Slot): void => this.absences.remove(slot)

  /** Takes so many steps towards giving memory back. What is left to do is the sweeper's: there may never be another step. */
  private settle(limit: number): void {
    if (!this.entries.settle(limit)) this.wake?.()
  }

  private expire(slot: Slot): void {
    this.counters.expirations += 1
    this.drop(slot, "expired")
  }

  private invalidate(slot: Slot): void {
    this.counters.invalidations += 1
    this.drop(slot, "invalidated")
  }

  private drop(slot: Slot, cause: Cause): void {
    const { entries, removed } = this
    if (this.policy !== undefined) this.policy.remove(slot)
    this.unweigh(slot)
    if (removed === undefined) {
      entries.remove(slot)
      return
    }
    const key = entries.keyOf(slot)
    const value = entries.valueOf(slot)
    entries.remove(slot)
    removed(key, value, cause)
  }

  /** From here on nothing is known to be absent under the key. */
  private admit(key: K): void {
    const slot = this.absences.get(key)
    if (slot !== undefined) this.absences.remove(slot)
  }

  private write(key: K, value: V, span: Span, now: number, extra: Extra): void {
    const { entries, policy } = this
    this.admit(key)
    const there = entries.get(key)
    const deadline = now + Math.min(span.idle, span.max)
    if (there !== undefined) this.counters.replacements += 1
    if (deadline <= now || extra.weight > this.maxWeight) {
      // What was written in its place is not kept.
      if (there === undefined) return
      this.drop(there, "replaced")
      this.settle(SETTLED_AT_ONCE)
      return
    }
    const slot = there ?? entries.add(key, value, deadline)
    const before = there === undefined ? undefined : this.overwrite(there, key, value, deadline)
    entries.live(slot, span.idle, now + span.max)
    if (this.ages !== undefined) entries.date(slot, now)
    entries.weigh(slot, extra.weight)
    this.weight += extra.weight
    entries.tags.add(slot, extra.tags)
    this.file(entries, slot, now)
    if (before !== undefined) this.removed?.(before.key, before.value, "replaced")
    if (policy === undefined) return
    if (there === undefined) policy.add(slot, key)
    else policy.write(slot)
    this.evict(policy)
  }

  /** Puts a value in the place of another, and answers that one if somebody wants to be told of it. */
  private overwrite(
    slot: Slot,
    key: K,
    value: V,
    deadline: number
  ): { readonly key: K; readonly value: V } | undefined {
    const { entries } = this
    const before = this.removed === undefined ? undefined : { key: entries.keyOf(slot), value: entries.valueOf(slot) }
    entries.unfile(slot)
    this.unweigh(slot)
    entries.put(slot, key, value, deadline)
    return before
  }

  /** Sums of fractions are not quite what they should be: what is left of that goes with the last entry. */
  private unweigh(slot: Slot): void {
    this.weight = this.entries.size === 1 ? 0 : this.weight - this.entries.weightOf(slot)
  }

  private evict(policy: Policy<K>): void {
    while (this.entries.size > policy.capacity || this.weight > this.maxWeight) {
      const victim = policy.victim()
      if (victim === undefined) return
      this.counters.evictions += 1
      this.drop(victim, "evicted")
      this.settle(SETTLED_AT_ONCE)
    }
  }

  protected heir(policy: Policy<K> | undefined, options: StoreOptions): Store<K, V, E> {
    return new Store(policy, options)
  }

  private file({ expiry }: { readonly expiry: Expiry }, slot: Slot, now: number): void {
    expiry.file(slot, now)
    if (expiry.due < this.armed) this.wake?.()
  }
}
