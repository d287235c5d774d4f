/**
 * The map of a cache and whatever is filed beside it, as one synchronous object.
 *
 * There is no effect in here: each method looks, decides and writes in one step, so between two fibers there is nothing to interleave. Three tables
 * hold a key's state: `entries` what can be served, `loads` what is being loaded, `absences` what is known not to be there. Identity decides in all of them:
 *
 *   - a load is allowed to publish only while `loads` still holds that very load; `put`, `remove` and `clear` take it out, so what it read
 *     before them is handed to those who were already waiting and to nobody else;
 *   - expiry and eviction remove the very entry they looked at; what was written in its place stays.
 *
 * So there is no generation to count and no tombstone to keep, and all memory for a key goes when its entry does.
 */
import type { Exit, Option } from "effect"
import { Absence, Absences } from "./absence.js"
import { Entry, type Life, LivedEntry } from "./entry.js"
import { BoundedEntry, type Policy } from "./eviction.js"
import { Expiry, type Timed } from "./expiry.js"
import type { HitAges } from "./hitages.js"
import { KeyMap } from "./keyMap.js"
import type { Span } from "./lifetime.js"
import type { Load } from "./load.js"
import { Tags } from "./tags.js"

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
  entries = new KeyMap<K, Entry<K, V>>()
  readonly loads = new KeyMap<K, Load<K, V, E>>()
  absences: Absences<K, V, E>
  tags = new Tags<Entry<K, V> | Absence<K, V, E>>()
  readonly grace: number
  expiry: Expiry
  private readonly maxWeight: number
  /** What all entries weigh together. */
  weight = 0
  /** How many tags were invalidated so far: who came before which of them. */
  turn = 0
  /** Told of each entry that goes, in the step in which it goes: only to take note. */
  removed: ((entry: Entry<K, V>, cause: Cause) => void) | undefined = undefined
  /** So long before its end an entry may be refreshed. */
  early = 0
  /** Told of an entry that was read so shortly before its end. */
  ending: ((entry: Entry<K, V>, left: number) => void) | undefined = undefined
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
  /** What entries live by that have no lifetime of their own. */
  private readonly usual: Life
  /** What the entry written last without a max lives by: those after it share it. */
  private life: Life

  /** A bounded store makes bounded entries and no others: with a policy, every entry is one. */
  constructor(
    public policy: Policy<K, V> | undefined,
    options: StoreOptions = {}
  ) {
    this.grace = options.grace ?? 0
    this.usual = { idle: options.idle ?? Number.POSITIVE_INFINITY, end: Number.POSITIVE_INFINITY }
    this.life = this.usual
    this.maxWeight = options.maxWeight ?? Number.POSITIVE_INFINITY
    this.expiry = new Expiry(this.grace)
    this.absences = new Absences(policy?.capacity ?? Number.POSITIVE_INFINITY)
  }

  /** Reads an entry: renews it and says yes, or removes it because it is expired. */
  use(entry: Entry<K, V>, now: number): boolean {
    if (now >= entry.deadline - this.early) return this.useLate(entry, now)
    this.touch(entry, now)
    return true
  }

  private useLate(entry: Entry<K, V>, now: number): boolean {
    if (now >= entry.deadline) {
      if (now >= entry.deadline + this.grace) this.expire(entry)
      return false
    }
    this.touch(entry, now)
    const left = this.lifeOf(entry).end - now
    if (left <= this.early) this.ending?.(entry, left)
    return true
  }

  /** What a read does to an entry. */
  touch(entry: Entry<K, V>, now: number): void {
    entry.renew(now, this.usual)
    if (this.policy !== undefined) this.policy.use(entry as BoundedEntry<K, V>)
  }

  /** What an entry lives by. */
  lifeOf(entry: Entry<K, V>): Life {
    return entry.lifeOr(this.usual)
  }

  /** The entry that may be served at `now`, left as it is. */
  peek(key: K, now: number): Entry<K, V> | undefined {
    const entry = this.entries.get(key)
    return entry === undefined || now >= entry.deadline ? undefined : entry
  }

  /** The entry that has expired, and may still be served if nothing better comes. */
  stale(key: K, now: number): Entry<K, V> | undefined {
    if (this.grace === 0) return undefined
    const entry = this.entries.get(key)
    return entry !== undefined && now >= entry.deadline && now < entry.deadline + this.grace ? entry : undefined
  }

  /** What is known not to be there. */
  absent(key: K, now: number): Absence<K, V, E> | undefined {
    const absence = this.absences.get(key)
    return absence === undefined || now >= absence.deadline ? undefined : absence
  }

  /** Writes a value whatever was there, and takes the right to publish from a load of that key. */
  put(key: K, value: V, span: Span, now: number, extra: Extra = PLAIN): void {
    this.revoke(key)
    this.write(key, value, span, now, extra)
  }

  /** Whether a load may say what is under its key: from then on it may not any more. */
  claim(load: Load<K, V, E>, tags: ReadonlyArray<string> = load.tags): boolean {
    if (load.overtake(tags)) {
      if (this.loads.remove(load)) this.counters.revokedLoads += 1
      return false
    }
    return this.loads.remove(load)
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
    const absence = new Absence(key, exit, now + millis)
    const oldest = this.absences.add(absence)
    if (oldest !== undefined) this.forgetAbsence(oldest)
    this.tags.add(absence, tags)
    this.file(absence, now)
  }

  remove(key: K): void {
    this.revoke(key)
    this.admit(key)
    this.dropOf(key)
  }

  /** Removes the entry that is under the key, if any. */
  dropOf(key: K): void {
    const entry = this.entries.get(key)
    if (entry !== undefined) this.invalidate(entry)
  }

  /** Takes the right to publish from the load of this key. */
  revoke(key: K): void {
    if (this.loads.size === 0) return
    const load = this.loads.get(key)
    if (load !== undefined && this.loads.remove(load)) this.counters.revokedLoads += 1
  }

  /**
   * Removes what carries the tag, and keeps loads that began before from publishing what does. Answers how many entries could have been served.
   */
  invalidateTag(tag: string, now: number): number {
    this.turn += 1
    let count = 0
    for (const thing of this.tags.with(tag)) {
      if (thing instanceof Absence) this.forgetAbsence(thing)
      else {
        if (now < thing.deadline) count += 1
        this.invalidate(thing)
      }
    }
    for (const load of [...this.loads.values()]) {
      if (load.tags.includes(tag)) this.revoke(load.key)
      else if (load.mayHaveMore) load.shake(tag, this.turn)
    }
    return count
  }

  /** Puts another value in the place of this entry, with the lifetime that it has left to it. */
  replace(entry: Entry<K, V>, value: V, now: number, extra: Extra = PLAIN): void {
    const { end, idle } = this.lifeOf(entry)
    this.put(entry.key, value, { idle, max: end - now }, now, extra)
  }

  /** Gives this entry another lifetime, from now on. */
  retime(entry: Entry<K, V>, span: Span, now: number): void {
    const life = this.lifeBy(span, now, entry)
    const deadline = Math.min(now + span.idle, life.end)
    if (deadline <= now) {
      this.expire(entry)
      return
    }
    this.expiry.unfile(entry)
    const timed = entry instanceof LivedEntry ? entry : new LivedEntry(entry.key, entry.value, deadline, life)
    timed.life = life
    timed.deadline = deadline
    if (timed !== entry) {
      // The same value under another entry: nobody is told of it.
      this.entries.set(timed)
      this.tags.add(timed, this.tags.of(entry))
      this.tags.remove(entry)
    }
    this.file(timed, now)
  }

  clear(cause: Cause = "invalidated"): void {
    this.counters.revokedLoads += this.loads.size
    if (cause === "invalidated") this.counters.invalidations += this.entries.size
    if (this.removed !== undefined) for (const entry of this.entries.values()) this.removed(entry, cause)
    this.loads.clear()
    this.entries.clear()
    this.absences.clear()
    this.tags.clear()
    this.expiry.clear()
    this.policy?.clear()
    this.weight = 0
  }

  /** Another store with everything that is held in this one, which is empty from then on. Loads stay: whoever began them has ended. */
  handOver(): Store<K, V, E> {
    const heir = this.heir(this.policy, { grace: this.grace, idle: this.usual.idle, maxWeight: this.maxWeight })
    const { absences, entries, expiry, tags, weight } = this
    this.entries = heir.entries
    this.absences = heir.absences
    this.tags = heir.tags
    this.expiry = heir.expiry
    this.policy = undefined
    this.weight = 0
    Object.assign(heir, { absences, entries, expiry, tags, weight })
    return heir
  }

  /** How many entries can be served at `now`: removes those that cannot, in one go. */
  size(now: number): number {
    this.expiry.sweepAll(now, this.expired)
    if (this.grace === 0) return this.entries.size
    let size = 0
    for (const entry of this.entries.values()) if (now < entry.deadline) size += 1
    return size
  }

  /** Whether all that is held can be served. */
  isAllAlive(now: number): boolean {
    return this.grace === 0 && !this.expiry.mayHaveExpired(now)
  }

  /** What the function makes of every entry that can be served at `now`. */
  list<A>(now: number, f: (entry: Entry<K, V>, now: number) => A, chosen?: (key: K) => boolean): Array<A> {
    const all: Array<A> = []
    for (const entry of this.entries.values()) {
      if (now < entry.deadline && (chosen === undefined || chosen(entry.key))) all.push(f(entry, now))
    }
    return all
  }

  /** Removes what is expired, looking at `limit` entries at most; says whether it got to the end. */
  sweep(now: number, limit: number): boolean {
    return this.expiry.sweep(now, limit, this.expired) && this.entries.settle(limit)
  }

  private readonly expired = (timed: Timed): void => {
    if (timed instanceof Absence) this.forgetAbsence(timed as Absence<K, V, E>)
    else this.expire(timed as Entry<K, V>) // nothing else is ever filed
  }

  private expire(entry: Entry<K, V>): void {
    this.counters.expirations += 1
    this.drop(entry, "expired")
  }

  private invalidate(entry: Entry<K, V>): void {
    this.counters.invalidations += 1
    this.drop(entry, "invalidated")
  }

  private drop(entry: Entry<K, V>, cause: Cause): void {
    this.entries.remove(entry)
    this.leave(entry, cause)
    if (this.policy !== undefined) this.policy.remove(entry as BoundedEntry<K, V>)
  }

  /** What has to be done for each entry that goes, beside the map and the policy. */
  private leave(entry: Entry<K, V>, cause: Cause): void {
    this.expiry.unfile(entry)
    if (this.tags.size > 0) this.tags.remove(entry)
    if (this.policy !== undefined) this.weight -= (entry as BoundedEntry<K, V>).weight
    if (this.removed !== undefined) this.removed(entry, cause)
  }

  /** From here on nothing is known to be absent under the key. */
  private admit(key: K): void {
    const absence = this.absences.get(key)
    if (absence !== undefined) this.forgetAbsence(absence)
  }

  private forgetAbsence(absence: Absence<K, V, E>): void {
    this.absences.remove(absence)
    this.expiry.unfile(absence)
    this.tags.remove(absence)
  }

  private write(key: K, value: V, span: Span, now: number, extra: Extra): void {
    if (this.absences.size > 0) this.admit(key)
    const there = this.entries.get(key)
    const deadline = now + Math.min(span.idle, span.max)
    if (deadline <= now || extra.weight > this.maxWeight) {
      if (there !== undefined) this.supersede(there)
      return
    }
    const life = this.lifeBy(span, now)
    const policy = this.policy
    if (policy === undefined) {
      const entry = life === this.usual ? new Entry(key, value, deadline) : new LivedEntry(key, value, deadline, life)
      this.entries.set(entry)
      if (there !== undefined) this.replaced(there)
      this.tags.add(entry, extra.tags)
      this.file(entry, now)
      return
    }
    const entry = new BoundedEntry(key, value, deadline, life)
    entry.weight = extra.weight
    this.entries.set(entry)
    if (there !== undefined) this.replaced(there)
    this.weight += extra.weight
    this.tags.add(entry, extra.tags)
    this.file(entry, now)
    policy.add(entry, there as BoundedEntry<K, V> | undefined)
    while (this.entries.size > policy.capacity || this.weight > this.maxWeight) {
      const victim = policy.victim()
      if (victim === undefined) return
      this.counters.evictions += 1
      this.drop(victim, "evicted")
    }
  }

  /** What was written in the place of this entry is not kept. */
  private supersede(entry: Entry<K, V>): void {
    this.counters.replacements += 1
    this.drop(entry, "replaced")
  }

  /** Another entry has taken the place of this one in the map, and will in the policy. */
  private replaced(entry: Entry<K, V>): void {
    this.counters.replacements += 1
    this.leave(entry, "replaced")
  }

  protected heir(policy: Policy<K, V> | undefined, options: StoreOptions): Store<K, V, E> {
    return new Store(policy, options)
  }

  /** `before` is the entry of the same value that it takes the place of, if there is one. */
  protected lifeBy({ idle, max }: Span, now: number, _before?: Entry<K, V>): Life {
    if (max !== Number.POSITIVE_INFINITY) return { idle, end: now + max }
    if (idle === this.usual.idle) return this.usual
    if (this.life.idle !== idle) this.life = { idle, end: Number.POSITIVE_INFINITY }
    return this.life
  }

  private file(timed: Timed, now: number): void {
    this.expiry.file(timed, now)
    if (this.expiry.due < this.armed) this.wake?.()
  }
}
