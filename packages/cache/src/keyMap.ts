/**
 * A map from a cache's keys to what is kept under them.
 *
 * Primitive keys, and objects without an equality of their own, go straight to a native Map. What Equal compares by its contents (`Data.tuple`, `Data.struct`,
 * case classes, and of JavaScript's own objects Date and URL) is filed by hash, and equal ones are one key. So such a key must not change while it is in here. From each
 * value its key can be told, and whoever removes something says which value: nothing is ever removed by key alone without looking first.
 *
 * A native Map that has lost three quarters of what it held copies the rest into a smaller table, within the one call that removes: 20 ms for the last quarter
 * of a million. So before a large one gets there, another takes its place, and what is left is moved a little at a time: with each write, and by `settle`.
 */
import { Equal, Hash } from "effect"

const hasEquality = (key: unknown): boolean =>
  (typeof key === "object" || typeof key === "function") &&
  key !== null &&
  (Equal.isEqual(key) || key instanceof Date || key instanceof URL)

/** A native Map of this capacity or more is not left to shrink by itself. */
const BIG = 2 ** 18
/** Moved with each write while a Map is being replaced by a smaller one. */
const MOVED_AT_ONCE = 2

/** What has its key itself. */
export interface Keyed<K> {
  readonly key: K
}

export const keyOf = <K>({ key }: Keyed<K>): K => key

export class KeyMap<K, V> {
  private plain = new Map<K, V>()
  /** The Map that `plain` takes the place of: what is in it and not removed is moved, a little with each write and by `settle`. */
  private older: Map<K, V | undefined> | undefined = undefined
  private moving: IterableIterator<[K, V | undefined]> | undefined = undefined
  private plainSize = 0
  /** The capacity that the native Map has by now. */
  private capacity = 4
  private hashed: Map<number, Array<V>> | undefined = undefined
  private hashedSize = 0

  /** `keyOf`: the key of a value that is in here. Values are no `undefined`. */
  constructor(private readonly keyOf: (value: V) => K) {}

  get size(): number {
    return this.plainSize + this.hashedSize
  }

  get(key: K): V | undefined {
    if ((typeof key !== "object" && typeof key !== "function") || !hasEquality(key)) {
      const value = this.plain.get(key)
      return value !== undefined || this.older === undefined ? value : this.older.get(key)
    }
    if (this.hashed === undefined) return undefined
    return this.hashed.get(Hash.hash(key))?.find((value) => Equal.equals(this.keyOf(value), key))
  }

  /** Puts a value in the place of what is there under its key. */
  set(key: K, value: V): void {
    if (!hasEquality(key)) {
      this.setPlain(key, value)
      return
    }
    this.hashed ??= new Map()
    const hash = Hash.hash(key)
    const bucket = this.hashed.get(hash)
    if (bucket === undefined) {
      this.hashed.set(hash, [value])
      this.hashedSize += 1
      return
    }
    const place = bucket.findIndex((there) => Equal.equals(this.keyOf(there), key))
    if (place >= 0) bucket[place] = value
    else {
      bucket.push(value)
      this.hashedSize += 1
    }
  }

  /** Removes this very value; anything else under its key stays. */
  remove(key: K, value: V): boolean {
    if (!hasEquality(key)) return this.removePlain(key, value)
    const hash = Hash.hash(key)
    const bucket = this.hashed?.get(hash)
    const place = bucket?.indexOf(value) ?? -1
    if (bucket === undefined || place < 0) return false
    if (bucket.length === 1) this.hashed?.delete(hash)
    else bucket.splice(place, 1)
    this.hashedSize -= 1
    return true
  }

  clear(): void {
    this.plain = new Map()
    this.plainSize = 0
    this.capacity = 4
    this.older = undefined
    this.moving = undefined
    this.hashed = undefined
    this.hashedSize = 0
  }

  *values(): IterableIterator<V> {
    if (this.older !== undefined) for (const value of this.older.values()) if (value !== undefined) yield value
    yield* this.plain.values()
    if (this.hashed !== undefined) for (const bucket of this.hashed.values()) yield* bucket
  }

  /** Whether no Map is being replaced by a smaller one. */
  get isSettled(): boolean {
    return this.moving === undefined
  }

  /** Moves so many values out of a Map that is being replaced, and says whether there is none any more. */
  settle(limit: number): boolean {
    for (let moved = 0; this.moving !== undefined; moved += 1) {
      if (moved === limit) return false
      const next = this.moving.next()
      if (next.done === true) {
        this.older = undefined
        this.moving = undefined
        return true
      }
      const [key, value] = next.value
      if (value === undefined) continue
      this.older?.set(key, undefined)
      this.plain.set(key, value)
      this.grown()
    }
    return true
  }

  private setPlain(key: K, value: V): void {
    const before = this.plain.size
    this.plain.set(key, value)
    if (this.plain.size > before) {
      if (this.older?.get(key) === undefined) this.plainSize += 1
      else this.older.set(key, undefined)
      this.grown()
    }
    if (this.moving !== undefined) this.settle(MOVED_AT_ONCE)
  }

  private removePlain(key: K, value: V): boolean {
    if (this.plain.get(key) === value) {
      this.plain.delete(key)
      if (this.plain.size < this.capacity / 4) this.capacity = Math.max(this.capacity / 2, 4)
    } else if (this.older?.get(key) === value)
      this.older.set(key, undefined) // not deleted, so that it does not shrink
    else return false
    this.plainSize -= 1
    // Not moved here: of what goes at one time, most would be moved before it is removed, into tables that grow for it.
    if (this.moving === undefined && this.capacity >= BIG && this.plain.size < 0.3 * this.capacity) this.replace()
    return true
  }

  private grown(): void {
    if (this.plain.size > this.capacity) this.capacity *= 2
  }

  private replace(): void {
    const older: Map<K, V | undefined> = this.plain
    this.older = older
    this.moving = older.entries()
    this.plain = new Map()
    this.capacity = 4
  }
}
